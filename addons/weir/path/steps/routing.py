"""Routing: check the head, find the connection, and write the head that the service receives."""

import re

from mitmproxy import http
from mitmproxy.connection import Server

from weir.base.bounds import current
from weir.base.problems import Kind, Refusal
from weir.base.well_known import APPROVALS, PROTECTED_RESOURCE, WHOAMI
from weir.mitm.arrival import Arrival
from weir.path.exchange import Arrived, Claimed, Exchange, Head, OwnPath, Prepared, Rehearsed, Routed
from weir.policyset.model import PolicySet
from weir.recorder.flowfile import recorded_connection
from weir.routing import handshake
from weir.routing.dial import Dialed
from weir.routing.forwarding import HANDSHAKE
from weir.routing.head import HeadError, check_head, split_authority, with_host
from weir.routing.model import Origin

#: Paths of the gateway's own documents.
OWN_PATHS = (PROTECTED_RESOURCE, "/.well-known/weir/")
_APPROVAL = re.compile(re.escape(APPROVALS) + "[0-9a-f-]{36}")
#: The detail of the refusal for a destination without a connection.
NO_DESTINATION = (
    "No connection leads to this destination, and `pass` does not name it. Ask the gateway's operator to add it, or "
    "exclude it from what is sent through the gateway (NO_PROXY)."
)
_CLIENT_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class CheckHead:
    """Refuse a head that two parsers could read in different ways."""

    name = "check_head"

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange, arrived: Arrived) -> Head:
        data, limits = flow.request.data, current()
        if flow.error is not None:
            raise Refusal(Kind.MALFORMED_REQUEST, "The request is not valid HTTP.")
        if len(data.path) > limits.target:
            raise Refusal(Kind.TARGET_TOO_LONG, f"The request's target is longer than {limits.target} bytes.")
        if len(data.headers.fields) > limits.fields:
            raise Refusal(Kind.HEAD_TOO_LARGE, f"The request has more than {limits.fields} header fields.")
        try:
            if data.http_version == b"HTTP/2.0" and (flow.client_conn.alpn == b"h2" or exchange.replay):
                data.headers.fields, data.authority = with_host(data.authority, data.headers.fields), b""
            elif data.http_version not in (b"HTTP/1.1", b"HTTP/1.0"):
                raise HeadError("the HTTP version is not supported")
            check_head(data.method, data.path, data.authority, data.headers.fields)
            fields = {name.lower(): value for name, value in data.headers.fields}
            asked = handshake.read(arrived.method, data.http_version, fields)
            host, port = ("", None) if exchange.replay else split_authority(fields.get(b"host", b""))
        except HeadError as error:
            raise Refusal(Kind.AMBIGUOUS_REQUEST, f"Refused because {error}.") from None
        client_id = fields.get(b"x-request-id", b"").decode("ascii", "replace")
        arrival = arrived.arrival
        scheme = "https" if arrival.tls or (arrival.listener.tls and not arrival.hosts) else "http"
        path, _, query = arrived.target.partition("?")
        return Head(
            fields=fields,
            scheme=scheme,
            host=host,
            port=port,
            path=path,
            query=query,
            handshake=asked,
            client_request_id=client_id if _CLIENT_REQUEST_ID.fullmatch(client_id) else "",
        )


class RehearsedRoute:
    """Stand-in: take the connection from the rehearsal."""

    name = "route"

    def __call__(self, rehearsed: Rehearsed, head: Head) -> Routed:
        return Routed(rehearsed.connection, head.path, head.query)


class Route:
    """Find the connection or the gateway's own document for the request's host and path."""

    name = "route"
    stand_in = RehearsedRoute()

    def __call__(self, flow: http.HTTPFlow, arrived: Arrived, head: Head) -> Routed | OwnPath:
        policies, listener = arrived.policies, arrived.arrival.listener
        if listener.mode != "reverse":
            head.origin = _origin(flow, head, arrived.arrival)
        if head.path.startswith(OWN_PATHS):
            return _own(policies, arrived, head)
        if head.origin is not None and head.origin not in policies.destinations.origins:
            raise Refusal(Kind.UNKNOWN_DESTINATION, NO_DESTINATION)
        if head.origin is not None:
            found = policies.destinations.route(head.origin, listener.port, head.path)
        else:
            found = policies.table.route(head.host, listener.port, head.path)
        if found is None:
            raise Refusal(
                Kind.UNKNOWN_CONNECTION,
                "No connection is configured for this host and path. Check the client's base URL.",
            )
        return Routed(found.connection, found.path, head.query)


def _origin(flow: http.HTTPFlow, head: Head, arrival: Arrival) -> Origin:
    """Return the origin that a proxy's caller addresses. Target, Host and TLS must name the same. Raises `Refusal`."""
    data, host = flow.request.data, head.host
    port = head.port or (443 if head.scheme == "https" else 80)
    if arrival.hosts:
        if host not in arrival.hosts or port != arrival.port:
            raise Refusal(Kind.MISDIRECTED, "The Host header is not the destination of this tunnel or connection.")
        sni = flow.client_conn.sni
        if arrival.tls and sni and sni.lower() != host:
            raise Refusal(Kind.MISDIRECTED, "The Host header differs from the TLS server name (SNI).")
    elif data.scheme != b"http" or (data.host.lower().strip("[]"), data.port) != (host, port):
        raise Refusal(
            Kind.MISDIRECTED, "The request's target and its Host header differ, or it should have been a CONNECT."
        )
    return Origin(head.scheme, host, port)


def _own(policies: PolicySet, arrived: Arrived, head: Head) -> OwnPath:
    """Find the gateway's own document. A metadata path is the well-known path and then a connection's path."""
    path, port = head.path, arrived.arrival.listener.port
    below = path.removeprefix(PROTECTED_RESOURCE) if path.startswith(PROTECTED_RESOURCE) else ""
    routed = policies.table.route(head.host, port, below or "/") if head.origin is None else None
    known = (
        path in (WHOAMI, PROTECTED_RESOURCE)
        or _APPROVAL.fullmatch(path)
        or (below.startswith("/") and routed is not None)
    )
    if not known:
        raise Refusal(Kind.UNKNOWN_CONNECTION, "No connection has this path, so there is no document about it.")
    if arrived.method != "GET":
        raise Refusal(Kind.UNKNOWN_CONNECTION, "This document can only be read with GET.")
    return OwnPath(path, routed.connection if routed else None)


class RouteRecorded:
    """Find the connection of a recorded request by the service to which it went."""

    name = "route"

    def __call__(self, flow: http.HTTPFlow, arrived: Arrived, head: Head) -> Routed:
        request, path = flow.request, head.path
        candidates = [
            connection
            for connection in arrived.policies.by_origin(Origin(request.scheme, request.host.lower(), request.port))
            if path.startswith(connection.upstream.base_path + "/")
        ]
        if not candidates:
            raise Refusal(Kind.UNKNOWN_CONNECTION, "No connection leads to where this recorded request went.")
        longest = max(len(c.upstream.base_path) for c in candidates)
        candidates = [c for c in candidates if len(c.upstream.base_path) == longest]
        if len(candidates) > 1:  # the record only narrows the choice; it does not give access
            candidates = [c for c in candidates if c.name == recorded_connection(flow.metadata)]
        if len(candidates) != 1:
            raise Refusal(
                Kind.REPLAY_REFUSED,
                "Several connections lead to where this recorded request went, and the record names none of them.",
            )
        (connection,) = candidates
        below = path[len(connection.upstream.base_path) :]
        arrived.target = (connection.match.path or "") + below + (f"?{head.query}" if head.query else "")
        return Routed(connection, below, head.query)


class WriteHead:
    """Write the service's head: its target, its Host, and the caller's headers that may be forwarded."""

    name = "write_head"

    def __call__(
        self, flow: http.HTTPFlow, exchange: Exchange, arrived: Arrived, head: Head, routed: Routed
    ) -> Prepared:
        connection, data = routed.connection, flow.request.data
        upstream = connection.upstream
        # mitmproxy's setters also update Host and authority, which takes longer than this whole step.
        data.host, data.port = Dialed(upstream.origin.host, connection.dial), upstream.origin.port
        data.scheme = upstream.origin.scheme.encode()
        data.authority = b""
        target = upstream.base_path + routed.path
        data.path = (f"{target}?{routed.query}" if routed.query else target).encode()
        passed, dropped = connection.forwarding.divide(data.headers.fields)
        if head.handshake is not None:
            passed += [field for field in data.headers.fields if field[0].lower() in HANDSHAKE]
        claimed = exchange.get(Claimed)
        if claimed is not None and claimed.token is not None:  # from any header: a service could use it here
            token = claimed.token.reveal().encode("latin-1", "replace")
            dropped += [name for name, value in passed if token in value]
            passed = [field for field in passed if token not in field[1]]
        fields = [(b"Host", upstream.origin.authority.encode()), *passed]
        if head.handshake is not None:
            fields += handshake.UPGRADE
        fields.append((b"Accept-Encoding", b"identity"))
        if data.content or arrived.method in ("POST", "PUT", "PATCH"):
            fields.append((b"Content-Length", b"%d" % len(data.content or b"")))
        data.headers.fields = tuple(fields)
        data.http_version = b"HTTP/1.1"
        proxy = arrived.policies.upstream_proxy
        via = proxy.via if proxy is not None and proxy.serves(upstream.origin.host) else None
        if exchange.replay or flow.server_conn.via != via:
            # A recorded flow may name a proxy or another transport.
            flow.server_conn = Server(address=(data.host, data.port))
            flow.server_conn.via = via  # type: ignore[assignment]
        return Prepared(via, tuple(dropped))
