"""Routing: checks the head, finds the connection, and writes the request that goes upstream."""

import re

from mitmproxy import http
from mitmproxy.connection import Server

from weir.base.bounds import current
from weir.base.problems import Kind, Refusal
from weir.mitm.arrival import Arrival
from weir.mitm.wire import NO_DESTINATION
from weir.path.documents import APPROVALS, PROTECTED_RESOURCE, WHOAMI
from weir.path.exchange import Exchange
from weir.policyset.model import PolicySet
from weir.recorder.flowfile import recorded_connection
from weir.routing import handshake
from weir.routing.dial import Dialed
from weir.routing.head import METHODS, HeadError, check_head, forwarded_fields, split_authority, with_host
from weir.routing.model import Origin

#: What the gateway answers by itself.
OWN_PATHS = (PROTECTED_RESOURCE, "/.well-known/weir/")
_APPROVAL = re.compile(re.escape(APPROVALS) + "[0-9a-f-]{36}")
_CLIENT_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Routing:
    """First of the rooms: nothing is believed of a head that could be read in two ways."""

    def requestheaders(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Set the exchange's connection and path, or refuse."""
        data = flow.request.data
        exchange.method = data.method.decode() if data.method in METHODS else "?"
        exchange.caller_target = data.path.decode("utf-8", "replace")
        exchange.chunked = data.http_version != b"HTTP/1.0"
        limits = current()
        if len(data.path) > limits.target:
            raise Refusal(Kind.TARGET_TOO_LONG, f"The request's target is longer than {limits.target} bytes.")
        if len(data.headers.fields) > limits.fields:
            raise Refusal(Kind.HEAD_TOO_LARGE, f"The request has more than {limits.fields} header fields.")
        try:
            if data.http_version == b"HTTP/2.0":
                data.headers.fields, data.authority = with_host(data.authority, data.headers.fields), b""
            elif data.http_version not in (b"HTTP/1.1", b"HTTP/1.0"):
                raise HeadError("the HTTP version is none that passes")
            check_head(data.method, data.path, data.authority, data.headers.fields)
            exchange.head = {name.lower(): value for name, value in data.headers.fields}
            exchange.handshake = handshake.read(exchange.method, data.http_version, exchange.head)
        except HeadError as error:
            raise Refusal(Kind.AMBIGUOUS_REQUEST, f"Refused because {error}.") from None
        client_id = exchange.head.get(b"x-request-id", b"").decode("ascii", "replace")
        if _CLIENT_REQUEST_ID.fullmatch(client_id):
            exchange.client_request_id = client_id
        path, _, exchange.query = exchange.caller_target.partition("?")
        policies = exchange.policies
        assert policies is not None
        exchange.path = path
        if exchange.replay:
            self._route_replay(flow, exchange, policies, path)
            return
        arrival = exchange.arrival
        assert arrival is not None
        try:
            host, own_port = split_authority(exchange.head.get(b"host", b""))
        except HeadError as error:
            raise Refusal(Kind.AMBIGUOUS_REQUEST, f"Refused because {error}.") from None
        port = arrival.listener.port
        exchange.scheme = "https" if arrival.tls or (arrival.listener.tls and not arrival.hosts) else "http"
        if arrival.listener.mode != "reverse":
            exchange.origin = self._origin(flow, exchange.scheme, arrival, host, own_port)
        if path.startswith(OWN_PATHS):
            self._route_own(exchange, policies, host, port, path)
            return
        if exchange.origin is not None and exchange.origin not in policies.destinations.origins:
            raise Refusal(Kind.UNKNOWN_DESTINATION, NO_DESTINATION)
        if exchange.origin is not None:
            routed = policies.destinations.route(exchange.origin, port, path)
        else:
            routed = policies.table.route(host, port, path)
        if routed is None:
            raise Refusal(
                Kind.UNKNOWN_CONNECTION,
                "No connection is configured for this host and path. Check the base URL that the client was given.",
            )
        exchange.connection, exchange.path = routed

    def _origin(self, flow: http.HTTPFlow, scheme: str, arrival: Arrival, host: str, port: int | None) -> Origin:
        """Where a proxy's caller means to go: every place that says it must say the same. Raises `Refusal`."""
        data = flow.request.data
        port = port or (443 if scheme == "https" else 80)
        if arrival.hosts:
            if host not in arrival.hosts or port != arrival.port:
                raise Refusal(Kind.MISDIRECTED, "The Host header is not of where this connection leads.")
            sni = flow.client_conn.sni
            if arrival.tls and sni and sni.lower() != host:
                raise Refusal(Kind.MISDIRECTED, "The Host header is not the host that TLS was begun for.")
        elif data.scheme != b"http" or (data.host.lower().strip("[]"), data.port) != (host, port):
            raise Refusal(
                Kind.MISDIRECTED, "The request's target and its Host header differ, or it should have been a CONNECT."
            )
        return Origin(scheme, host, port)

    def _route_own(self, exchange: Exchange, policies: PolicySet, host: str, port: int, path: str) -> None:
        """The gateway's own documents; behind the well-known path of metadata stands that of a connection."""
        below = path.removeprefix(PROTECTED_RESOURCE) if path.startswith(PROTECTED_RESOURCE) else ""
        routed = policies.table.route(host, port, below or "/") if exchange.origin is None else None
        known = (
            path in (WHOAMI, PROTECTED_RESOURCE)
            or _APPROVAL.fullmatch(path)
            or (below.startswith("/") and routed is not None)
        )
        if not known:
            raise Refusal(Kind.UNKNOWN_CONNECTION, "No connection has this path, so there is no document about it.")
        if exchange.method != "GET":
            raise Refusal(Kind.UNKNOWN_CONNECTION, "This document is only to be read, with GET.")
        exchange.own_path = path
        exchange.described = routed.connection if routed else None

    def _route_replay(self, flow: http.HTTPFlow, exchange: Exchange, policies: PolicySet, path: str) -> None:
        """A recorded request names its upstream; its connection is whichever leads there."""
        request = flow.request
        candidates = [
            connection
            for connection in policies.by_origin(Origin(request.scheme, request.host.lower(), request.port))
            if path.startswith(connection.upstream.base_path + "/")
        ]
        if not candidates:
            raise Refusal(Kind.UNKNOWN_CONNECTION, "No connection leads to where this recorded request went.")
        longest = max(len(c.upstream.base_path) for c in candidates)
        candidates = [c for c in candidates if len(c.upstream.base_path) == longest]
        if len(candidates) > 1:  # the record's word narrows the choice; it gives nobody access
            candidates = [c for c in candidates if c.name == recorded_connection(flow.metadata)]
        if len(candidates) != 1:
            raise Refusal(
                Kind.REPLAY_REFUSED,
                "Several connections lead to where this recorded request went, and the record names none of them.",
            )
        (connection,) = candidates
        exchange.connection = connection
        exchange.path = path[len(connection.upstream.base_path) :]
        prefix = connection.match.path or ""
        exchange.caller_target = prefix + exchange.path + (f"?{exchange.query}" if exchange.query else "")

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Turn the caller's head into the upstream's: target, host, and the headers that may pass."""
        connection, data = exchange.connection, flow.request.data
        assert connection is not None
        upstream = connection.upstream
        # mitmproxy's setters keep Host and authority in step, which costs more than all of this.
        data.host, data.port = Dialed(upstream.origin.host, connection.dial), upstream.origin.port
        data.scheme = upstream.origin.scheme.encode()
        data.authority = b""
        target = upstream.base_path + exchange.path
        data.path = (f"{target}?{exchange.query}" if exchange.query else target).encode()
        fields = [(b"Host", upstream.origin.authority.encode()), *forwarded_fields(data.headers.fields)]
        if exchange.token is not None:  # in whatever header: whoever has it is its caller, to this gateway
            token = exchange.token.reveal().encode("latin-1", "replace")
            fields = [field for field in fields if token not in field[1]]
        if exchange.handshake is not None:
            fields = [field for field in fields if field[0].lower() not in handshake.NOT_FORWARDED]
            fields += handshake.UPGRADE
        fields.append((b"Accept-Encoding", b"identity"))
        if data.content or exchange.method in ("POST", "PUT", "PATCH"):
            fields.append((b"Content-Length", b"%d" % len(data.content or b"")))
        data.headers.fields = tuple(fields)
        data.http_version = b"HTTP/1.1"
        proxy = exchange.policies.upstream_proxy if exchange.policies else None
        exchange.via = proxy.via if proxy is not None and proxy.serves(upstream.origin.host) else None
        if exchange.replay or flow.server_conn.via != exchange.via:
            # A recorded one may name a proxy to go through, or another transport.
            flow.server_conn = Server(address=(data.host, data.port))
            flow.server_conn.via = exchange.via  # type: ignore[assignment]
