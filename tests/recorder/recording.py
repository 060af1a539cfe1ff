"""Recordings for tests, written by the real writer."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mitmproxy.test import tflow

from weir.recorder import live
from weir.recorder.adoption import adopt
from weir.recorder.copies import RequestRecord, ResponseRecord
from weir.recorder.evidence import Log, Signer
from weir.recorder.flowfile import NO_WEBSOCKET, FlowEncoder
from weir.recorder.folder import Recordings
from weir.recorder.journal import SCHEMA_VERSION, JournalLine, RankedResult, encode_line, timestamp
from weir.recorder.repair import Repairs
from weir.recorder.repair import repair as repair_recordings
from weir.recorder.writer import Entry, Writer

#: 2027-01-15 08:00:00 UTC.
START = 1_800_000_000.25


def repair(root: Path, own_worker: str) -> Repairs:
    """Repair like a start of *own_worker*."""
    recordings = Recordings(root)
    live.prepare(recordings)
    signer = Signer(recordings)
    adopt(recordings, signer)
    with a_log(recordings, own_worker) as log:
        return repair_recordings(recordings, signer, log)


@contextlib.contextmanager
def a_log(recordings: Recordings, worker: str = "w0") -> Iterator[Log]:
    """Open the log of *worker*, and close it at the end of the block, like the end of its process."""
    log = Log(recordings, worker, Signer(recordings))
    try:
        yield log
    finally:
        log.close()


def a_writer(root: Path, worker: str = "w0", boot: str = "b", recordings: Recordings | None = None) -> Writer:
    """Return a writer below *root*."""
    recordings = recordings or Recordings(root)
    recordings.identify()
    log = Log(recordings, worker, Signer(recordings))

    class Alone(Writer):
        """A process with this log only."""

        def close(self) -> None:
            super().close()
            log.close()

    return Alone(recordings, log, boot)


def entry(line: JournalLine, flow: Callable[[], bytes] | None = None, connection: str = "c") -> Entry:
    """Return the entry that the recorder makes of *line* and its flow."""
    return Entry(connection, line.request_id, line.time, encode_line(line), flow or (lambda: a_flow(line)))


def a_line(number: int, worker: str = "w0", *, at: float = START, user: str = "alice") -> JournalLine:
    """Return a distinct line for each *number*, *number* seconds after *at*."""
    return JournalLine(
        version=SCHEMA_VERSION, request_id=f"id-{number:04d}", time=timestamp(at + number), duration_ms=1.5,
        worker=worker, connection="c", method="POST", path="/v2/rerank", status=200, user=user, session_id="s",
        documents=2, results=[RankedResult(1, 0.5), RankedResult(0, 0.25)],
    )  # fmt: skip


def a_flow(
    line: JournalLine,
    body: bytes = b"x" * 500,
    *,
    request: RequestRecord | None = None,
    response: ResponseRecord | None = None,
    websocket: bytes = NO_WEBSOCKET,
) -> bytes:
    """Return an encoded flow for *line*. *body* is that of the default response."""
    encoder, template = FlowEncoder(), tflow.tflow()
    return encoder.flow(
        flow_id=line.request_id, client=encoder.connection(template.client_conn), server=encoder.connection(template.server_conn),
        request=request or RequestRecord(b"POST", b"http", "h", 80, b"/", (), b"{}"),
        response=response or ResponseRecord(200, b"OK", (), body),
        error="", replay="", marked="", comment="", metadata=encode_line(line), times=(1.0, 2.0, 3.0, 4.0), websocket=websocket,
    )  # fmt: skip


def write_lines(
    root: Path,
    lines: Iterable[JournalLine],
    worker: str = "w0",
    boot: str = "b",
    *,
    seal: bool = True,
    recordings: Recordings | None = None,
    flow: Callable[[JournalLine], bytes] = a_flow,
) -> None:
    """Write *lines* with their flows in order. Without *seal*, leave them like a killed process."""

    async def run() -> None:
        writer = a_writer(root, worker, boot, recordings)
        for line in lines:
            await writer.record(entry(line, functools.partial(flow, line)))
        if not seal:
            writer._end = lambda: None  # type: ignore[method-assign]
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
