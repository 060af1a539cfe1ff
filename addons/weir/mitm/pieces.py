"""Joins pieces of a service's answer that arrived together."""

from collections.abc import Iterator
from typing import Any

from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ResponseData


def joined(found: Iterator[Any]) -> Iterator[Any]:
    """Pass on the commands of *found*, with consecutive pieces of one answer as one piece."""
    pieces: list[bytes] = []
    stream_id = 0
    for command in found:
        data = command.event if isinstance(command, ReceiveHttp) else None
        if pieces and not (isinstance(data, ResponseData) and data.stream_id == stream_id):
            yield ReceiveHttp(ResponseData(stream_id, b"".join(pieces)))
            pieces = []
        if isinstance(data, ResponseData):
            stream_id = data.stream_id
            pieces.append(data.data)
        else:
            yield command
    if pieces:
        yield ReceiveHttp(ResponseData(stream_id, b"".join(pieces)))
