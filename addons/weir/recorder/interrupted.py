"""Closes a request that was sent but never finished in the record: builds a flow from its intent, and the line."""

import msgspec
from mitmproxy import connection
from mitmproxy.proxy.mode_specs import ProxyMode

from weir.recorder.copies import RequestRecord
from weir.recorder.flowfile import FlowEncoder
from weir.recorder.journal import JournalLine, encode_line

CRASHED = "interrupted: the gateway ended before the answer was on record"
UNRECORDED = "interrupted: the answer could not be recorded, so it was not delivered"


def interrupted(line: JournalLine, why: str) -> tuple[bytes, bytes]:
    """Return the closing flow of the intent *line*, and its line without ``segment``, ``offset`` and ``length``."""
    line = msgspec.structs.replace(
        line,
        intent=False,
        error=why,
        segment="",
        duration_ms=0.0,
        status=0,
        response_bytes=0,
        results=[],
        outcome="failed",
    )
    text, encoder = encode_line(line), FlowEncoder()
    client = connection.Client(peername=("", 0), sockname=("", 0), proxy_mode=ProxyMode.parse("regular"))
    request = RequestRecord(line.method.encode(), b"http", line.connection or "", 80, line.path.encode(), (), b"")
    flow = encoder.flow(
        flow_id=line.request_id, client=encoder.connection(client),
        server=encoder.connection(connection.Server(address=None)), request=request, response=None, error=why,
        replay="", marked=":warning:", comment=f"{why} ({line.user or 'nobody'})", metadata=text,
        times=(0.0, 0.0, 0.0, 0.0),
    )  # fmt: skip
    return flow, text
