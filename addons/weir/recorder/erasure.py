"""Erasure: removes the recorded data of one person, such that the rest still verifies.

A journal line is replaced by its hash, which evidence covers. Its flow is replaced by a filler flow of the same length
that states the time of erasure, so that no other data moves. A tombstone in the keeper's log has the line numbers and
never names the person.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from mitmproxy import connection
from mitmproxy.proxy.mode_specs import ProxyMode

from weir.recorder.copies import RequestRecord
from weir.recorder.entries import Erased, erased_line, line_hash
from weir.recorder.evidence import COVERED, KEEPER, Log, entries
from weir.recorder.flowfile import FlowEncoder
from weir.recorder.folder import Recordings
from weir.recorder.indexer import Indexer
from weir.recorder.journal import JournalLine, decode_line, timestamp
from weir.recorder.merkle import leaf_hash


@dataclass(slots=True)
class Found:
    """The recorded data of a person: line numbers by segment and by ``<worker>/<file>``."""

    lines: dict[str, list[int]] = field(default_factory=dict)
    files: dict[str, list[int]] = field(default_factory=dict)
    requests: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)  # requests that a legal hold keeps
    live: set[str] = field(default_factory=set)  # requests in journals that are not sealed yet
    quarantined: list[str] = field(default_factory=list)  # files in the quarantine, which are removed whole

    @property
    def count(self) -> int:
        """How many lines and quarantined files would be erased."""
        return sum(map(len, (*self.lines.values(), *self.files.values()))) + len(self.quarantined)


def find(
    recordings: Recordings,
    sealed: Sequence[str],
    needles: Callable[[str], Collection[bytes]],
    is_subject: Callable[[JournalLine], bool],
    held: Collection[str],
    holds: Collection[int] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """Find all data of a person in *sealed* and open segments, approvals, events and the quarantine.

    *needles* returns the texts that identify the person in recordings of a connection: their names as written, and the
    tokens of its masks. *is_subject* returns whether the person was the caller of a line. The *held* requests and the
    lines with the numbers *holds* of the keeper's holds stay.
    """
    found = Found()
    done = set(sealed)
    paths = sorted(recordings.segments.glob("*/*/*.jsonl"))
    for number, path in enumerate(paths):
        progress(number, len(paths))
        segment = path.relative_to(recordings.segments).with_suffix("").as_posix()
        for index, line in _of_person(path, needles(segment.partition("/")[0]), is_subject):
            if line.request_id in held:
                found.held.add(line.request_id)
            elif segment not in done:
                found.live.add(line.request_id)
            else:
                found.lines.setdefault(segment, []).append(index)
                found.requests.add(line.request_id)
    progress(len(paths), len(paths))
    everywhere = needles("")
    for path in sorted(recordings.root.glob("log/*/*.jsonl")):
        if path.name in COVERED:
            for index, text in enumerate(path.read_bytes().split(b"\n")[:-1]):
                if erased_line(text) is not None or not any(needle in text for needle in everywhere):
                    continue
                held_line = (path.parent.name, path.name) == (KEEPER, "holds.jsonl") and index in holds
                if not held_line and not any(request.encode() in text for request in held):
                    found.files.setdefault(f"{path.parent.name}/{path.name}", []).append(index)
    for path in sorted(recordings.quarantine.rglob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if any(needle in data for needle in everywhere):
                found.quarantined.append(path.relative_to(recordings.root).as_posix())
    return found


def _of_person(
    journal: Path, needles: Collection[bytes], is_subject: Callable[[JournalLine], bool]
) -> Iterator[tuple[int, JournalLine]]:
    flows = journal.with_suffix(".mitm").read_bytes() if journal.with_suffix(".mitm").exists() else b""
    for index, text in enumerate(journal.read_bytes().split(b"\n")[:-1]):
        if erased_line(text) is not None:
            continue
        try:
            line = decode_line(text)
        except msgspec.MsgspecError:
            continue  # torn, or of a newer version: `weir verify` reports it
        flow = flows[line.offset : line.offset + line.length]
        if is_subject(line) or any(needle in text or needle in flow for needle in needles):
            yield index, line


def erase(recordings: Recordings, indexer: Indexer, log: Log, found: Found, why: str = "erasure") -> None:
    """Erase the data *found*. Tombstones are written first, so that the next run finishes what a crash interrupts.

    Raises OSError.
    """
    now = timestamp(time.time())
    for segment, lines in found.lines.items():
        log.append(Erased(segment=segment, lines=lines, why=why, time=now))
    for file, lines in found.files.items():
        log.append(Erased(file=file, lines=lines, why=why, time=now))
    for file in found.quarantined:
        log.append(Erased(file=file, lines=[], why=why, time=now))
    log.checkpoint()
    finish(recordings, indexer)


def finish(recordings: Recordings, indexer: Indexer) -> None:
    """Erase all data that has a tombstone and is still there. Raises OSError."""
    segments: dict[str, dict[int, str]] = {}
    for _, entry in entries(recordings):
        if isinstance(entry, Erased) and entry.file.startswith(f"{recordings.quarantine.name}/"):
            (recordings.root / entry.file).unlink(missing_ok=True)
        elif isinstance(entry, Erased) and entry.file:
            if (recordings.root / "log" / entry.file).exists():
                _erase_in_place(recordings.root / "log" / entry.file, set(entry.lines))
        elif isinstance(entry, Erased):
            segments.setdefault(entry.segment, {}).update(dict.fromkeys(entry.lines, entry.time))
    for segment, times in segments.items():
        journal = recordings.segments / f"{segment}.jsonl"
        lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
        left = {number: times[number] for number in times if number < len(lines) and erased_line(lines[number]) is None}
        if left:
            indexer.take_away((), {decode_line(lines[number]).request_id for number in left})
            _erase_lines(recordings, segment, lines, left)


def _erase_lines(recordings: Recordings, segment: str, lines: list[bytes], times: dict[int, str]) -> None:
    base = recordings.segments / segment
    journal, flows = base.with_name(f"{base.name}.jsonl"), base.with_name(f"{base.name}.mitm")
    data = bytearray(flows.read_bytes()) if flows.exists() else None  # None: its bodies have expired
    for number, moment in times.items():
        line = decode_line(lines[number])
        if line.length and data is not None:
            data[line.offset : line.offset + line.length] = filler(line.length, moment)
        place = f',"offset":{line.offset},"length":{line.length}' if line.length else ""
        lines[number] = b'{"erased":"%b"%b}' % (leaf_hash(lines[number]).hex().encode(), place.encode())
    if data is not None:
        recordings.replace(flows, bytes(data))
    recordings.replace(journal, b"\n".join([*lines, b""]))


def _erase_in_place(path: Path, numbers: set[int]) -> None:
    """Overwrite lines of a file that others append to. Each is replaced by its hash, padded to the same length."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        start = 0
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1]):
            if number in numbers and erased_line(line) is None:
                fresh = b'{"erased":"%b"' % line_hash(line).hex().encode()
                if len(fresh) + 1 > len(line):
                    raise OSError(f"{path}: line {number + 1} is too short to be erased")
                os.pwrite(descriptor, fresh.ljust(len(line) - 1) + b"}", start)
            start += len(line) + 1
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def filler(length: int, now: str) -> bytes:
    """Return a flow of exactly *length* bytes that states its erasure. Raises ValueError if *length* is too short."""
    encoder = FlowEncoder()
    caller = connection.Client(peername=("", 0), sockname=("", 0), proxy_mode=ProxyMode.parse("regular"))
    service = connection.Server(address=None)
    caller.id, service.id = "erased caller", "erased service"  # fixed ids, so that equal arguments give equal fillers
    caller.timestamp_start = 0
    client, server = encoder.connection(caller), encoder.connection(service)

    def flow(body: int, more: int) -> bytes:
        request = RequestRecord(b"GET", b"http", "erased", 80, b"/", (), b" " * body)
        return encoder.flow(
            flow_id="erased", client=client, server=server, request=request, response=None, error="", replay="",
            marked="", comment=f"erased {now}{' ' * more}", metadata=b"", times=(0.0, 0.0, 0.0, 0.0),
        )  # fmt: skip

    for more in range(24):  # lengths are written in digits, so padding one field alone cannot reach every length
        body = length - len(flow(0, more))
        for _ in range(8):
            if body < 0:
                break
            made = flow(body, more)
            if len(made) == length:
                return made
            body += length - len(made)
    raise ValueError(f"no flow is {length} bytes long")
