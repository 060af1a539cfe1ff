"""Writes recorded requests as a shell script that sends them to the gateway again, with the token in ``$TOKEN``.

The script never names a service: the gateway's credential is not in the recording, and the token is for the gateway.
"""

import base64
import shlex
from collections.abc import Iterable
from typing import Any

from mitmproxy.http import HTTPFlow

from weir.base.text import inert
from weir.policyset.connection import Connection
from weir.policyset.model import PolicySet
from weir.routing.listener import Listener

_HEAD = """\
#!/bin/sh
# As recorded: masked, and without credentials. It calls the gateway; WEIR_URL replaces the gateway's address.
: "${TOKEN:?set the token first, for example: export TOKEN=$(weir token)}"
"""
_SKIPPED = frozenset(
    [
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "host",
        "proxy-authorization",
        "x-weir-replay-key",
    ]
)
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # the address to call for each address to listen on


def script(exchanges: Iterable[tuple[dict[str, Any], HTTPFlow]], policies: PolicySet) -> bytes:
    """Return the script for *exchanges*, which are rows of `flows` with their flows."""
    lines = [_HEAD]
    connections = {connection.name: connection for connection in policies.connections}
    for row, flow in exchanges:
        lines.append(inert(f"# {row['time']} {row['user'] or 'nobody'}: {row['status']}"))
        connection = connections.get(row["connection"])
        if connection is None:
            lines.append(inert(f"# not sent: no connection {row['connection']!r} in the policies; see --policies"))
        else:
            lines.append(_command(flow, connection, policies))
    return "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")  # headers may have any bytes


def _command(flow: HTTPFlow, connection: Connection, policies: PolicySet) -> str:
    """Return the command for the request of *flow*. A body that is not text is written in Base64."""
    request, match = flow.request, connection.match
    direct = match.path is not None or match.host is not None
    listener = _listener(policies, "reverse" if direct else "explicit", match.port)
    if listener is None:
        return f"# not sent: no listener for the connection {connection.name} that a client can name"
    own = None if match.host or not direct else policies.public_url
    gateway = f'"${{WEIR_URL:-{own or _address(listener, match.host)}}}"'
    words = ["curl", "-X", request.method]
    for name, value in request.headers.items(multi=True):
        if name.lower() not in _SKIPPED:
            words += ["-H", f"{name}: {value}"]
    start, body = _body(request.content or b"")
    arguments = shlex.join([*words, *body])
    if direct:
        return f'{start}{arguments} -H "Authorization: Bearer $TOKEN" {gateway}{shlex.quote(_target(flow, connection))}'
    proxied = f'-x {gateway} --proxy-header "Proxy-Authorization: Bearer $TOKEN"'
    return f"{start}{arguments} {proxied} {shlex.quote(request.url)}"


def _body(body: bytes) -> tuple[str, list[str]]:
    """Return the beginning of a pipe that writes *body*, and curl's arguments that send it."""
    if not body:
        return "", []
    text = body.decode("utf-8", "replace")
    if text.isprintable() and not text.startswith("@") and text.encode() == body:
        return "", ["--data-binary", text]
    return f"printf %s {shlex.quote(base64.b64encode(body).decode())} | base64 -d | ", ["--data-binary", "@-"]


def _target(flow: HTTPFlow, connection: Connection) -> str:
    """Return path and query as the caller sent them. A request that was refused early is recorded so already."""
    request, upstream = flow.request, connection.upstream
    if (request.host, request.port) != (upstream.origin.host, upstream.origin.port):
        return request.path
    return (connection.match.path or "") + request.path.removeprefix(upstream.base_path)


def _listener(policies: PolicySet, mode: str, port: int | None) -> Listener | None:
    found = (listener for listener in policies.listeners if listener.mode == mode and port in (None, listener.port))
    return next(found, None)


def _address(listener: Listener, host: str | None) -> str:
    """Return the URL of *listener*, with the name *host* if a connection is selected by it."""
    reached = host or _EVERYWHERE.get(listener.host, listener.host)
    return str(Listener(reached, listener.port, tls=listener.tls))
