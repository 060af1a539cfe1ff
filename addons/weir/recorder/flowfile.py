"""A fast encoder of mitmproxy's flow format.

mitmproxy's own ``get_state`` and ``dumps`` take 0.3 ms per flow. Most of that encodes connections, which many flows
share. This encoder encodes each connection once, and writes a flow's own fields directly as the tagged netstrings of
format 21. A test compares the result with mitmproxy's.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import msgspec
from mitmproxy import connection, version
from mitmproxy.io import tnetstring
from mitmproxy.websocket import WebSocketData

from weir.recorder.copies import RequestRecord, ResponseRecord
from weir.recorder.journal import decode_line

FLOW_FORMAT = 21

Fields = Iterable[tuple[bytes, bytes]]

_NULL = b"0:~"
#: The ``websocket`` field of a flow without a WebSocket.
NO_WEBSOCKET = _NULL
_EMPTY_BYTES = b"0:,"


def check_format() -> None:
    """Raise RuntimeError if the installed mitmproxy writes another format than this module."""
    if version.FLOW_FORMAT_VERSION != FLOW_FORMAT:
        raise RuntimeError(
            f"mitmproxy {version.VERSION} writes flow format {version.FLOW_FORMAT_VERSION}, but Weir writes "
            f"{FLOW_FORMAT}; install mitmproxy 12.2"
        )


def _bytes(value: bytes) -> bytes:
    return b"%d:%b," % (len(value), value)


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"%d:%b;" % (len(encoded), encoded)


def _int(value: int) -> bytes:
    digits = b"%d" % value
    return b"%d:%b#" % (len(digits), digits)


def _float(value: float) -> bytes:
    digits = repr(value).encode()
    return b"%d:%b^" % (len(digits), digits)


def _list(items: bytes) -> bytes:
    return b"%d:%b]" % (len(items), items)


def _dict(*items: bytes) -> bytes:
    joined = b"".join(items)
    return b"%d:%b}" % (len(joined), joined)


def _fields(fields: Fields) -> bytes:
    pairs = (b"%d:%b,%d:%b," % (len(n), n, len(v), v) for n, v in fields)
    return _list(b"".join([b"%d:%b]" % (len(pair), pair) for pair in pairs]))


def _keys(*names: str) -> dict[str, bytes]:
    return {name: _text(name) for name in names}


_K = _keys(
    "version", "type", "id", "error", "client_conn", "server_conn", "intercepted", "is_replay", "marked",
    "metadata", "comment", "timestamp_created", "backup", "request", "response", "websocket", "http_version",
    "headers", "content", "trailers", "timestamp_start", "timestamp_end", "host", "port", "method", "scheme",
    "authority", "path", "status_code", "reason", "weir", "msg", "timestamp",
)  # fmt: skip
_FALSE = b"5:false!"


class FlowEncoder:
    """Encodes flows and caches the encoded form of recent connections. Not thread-safe."""

    _REMEMBERED = 512

    def __init__(self) -> None:
        self._connections: OrderedDict[str, bytes] = OrderedDict()

    def connection(self, conn: connection.Connection) -> bytes:
        """Encode *conn*, or return its cached form, which has no end time yet."""
        known = self._connections.get(conn.id)
        if known is None:
            known = tnetstring.dumps(conn.get_state())
            if isinstance(conn, connection.Server) and not conn.connected:
                return known  # an unconnected server may still change
            self._connections[conn.id] = known
            if len(self._connections) > self._REMEMBERED:
                self._connections.popitem(last=False)
        return known

    @staticmethod
    def websocket(data: WebSocketData) -> bytes:
        """Encode the WebSocket of a flow."""
        return tnetstring.dumps(data.get_state())

    def flow(
        self,
        *,
        flow_id: str,
        client: bytes,
        server: bytes,
        request: RequestRecord,
        response: ResponseRecord | None,
        error: str,
        replay: str,
        marked: str,
        comment: str,
        metadata: bytes,
        times: tuple[float, float, float, float],
        websocket: bytes = NO_WEBSOCKET,
    ) -> bytes:
        """Encode one flow. *times* are the start and end of request and response in Unix seconds (0: none).

        *client* and *server* come from `connection`, *websocket* from `websocket`.
        """
        k = _K
        start, end, response_start, response_end = times
        response_part = _NULL
        if response is not None:
            response_part = _dict(
                k["http_version"], b"8:HTTP/1.1,",
                k["headers"], _fields(response.fields),
                k["content"], _bytes(response.body),
                k["trailers"], _NULL,
                k["timestamp_start"], _float(response_start),
                k["timestamp_end"], _float(response_end),
                k["status_code"], _int(response.status),
                k["reason"], _bytes(response.reason),
            )  # fmt: skip
        return _dict(
            k["version"], _int(FLOW_FORMAT),
            k["type"], b"4:http;",
            k["id"], _text(flow_id),
            k["error"], _dict(k["msg"], _text(error), k["timestamp"], _float(end or start)) if error else _NULL,
            k["client_conn"], client,
            k["server_conn"], server,
            k["intercepted"], _FALSE,
            k["is_replay"], _text(replay) if replay else _NULL,
            k["marked"], _text(marked),
            k["metadata"], _dict(k["weir"], b"%d:%b;" % (len(metadata), metadata)),
            k["comment"], _text(comment),
            k["timestamp_created"], _float(start),
            k["backup"], _NULL,
            k["request"], _dict(
                k["http_version"], b"8:HTTP/1.1,",
                k["headers"], _fields(request.fields),
                k["content"], _bytes(request.body),
                k["trailers"], _NULL,
                k["timestamp_start"], _float(start),
                k["timestamp_end"], _float(end or start),
                k["host"], _text(request.host),
                k["port"], _int(request.port),
                k["method"], _bytes(request.method),
                k["scheme"], _bytes(request.scheme),
                k["authority"], _EMPTY_BYTES,
                k["path"], _bytes(request.target),
            ),
            k["response"], response_part,
            k["websocket"], websocket,
        )  # fmt: skip


def recorded_connection(metadata: dict[str, Any]) -> str | None:
    """Return the connection name in a recorded flow. It comes from the file, so it proves nothing."""
    try:
        return decode_line(line_in(metadata) or "").connection
    except msgspec.MsgspecError:
        return None


def line_in(metadata: dict[str, Any]) -> str | None:
    """Return the journal object in the metadata of a flow that Weir wrote; None for other flows."""
    text = metadata.get("weir")
    return text if isinstance(text, str) else None
