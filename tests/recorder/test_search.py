"""What a search in recorded bodies finds (`tests/corpus/searches.yaml`), in which order, and how much it reads."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from mitmproxy.net.http.headers import parse_content_type
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from tests.corpora import corpus
from tests.recorder.recording import START, a_flow, a_line, write_lines
from typer.testing import CliRunner
from wsproto.frame_protocol import Opcode

from weir.cli.main import app
from weir.recorder import catalog, live, search
from weir.recorder.copies import RequestRecord, ResponseRecord
from weir.recorder.flowfile import FlowEncoder
from weir.recorder.flows import Filters
from weir.recorder.folder import Recordings
from weir.recorder.journal import JournalLine, timestamp

CASES = {case["name"]: case for section in corpus("searches").values() for case in section}
FOUND = {case["name"] for case in corpus("searches")["found"]}


def empty(root: Path) -> Recordings:
    """Make an empty folder with its index."""
    recordings = Recordings(root)
    recordings.identify()
    live.prepare(recordings)
    catalog.create(recordings)
    return recordings


def typed(content_type: str) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"Content-Type", content_type.encode()),)


def flow_of_case(line: JournalLine) -> bytes:
    """Return the flow of the case that *line* names as its user."""
    case = CASES[str(line.user)]
    answer_type = case.get("answer_type", "application/json")
    _, _, parameters = parse_content_type(answer_type) or ("", "", {})
    answer = case.get("answer", "{}").encode(parameters.get("charset", "utf-8"))
    said = [WebSocketMessage(Opcode.TEXT, True, text.encode()) for text in case.get("messages", ())]
    return a_flow(
        line,
        request=RequestRecord(
            b"POST", b"http", "h", 80, b"/v2/rerank", typed("application/json"), case.get("request", "{}").encode()
        ),
        response=ResponseRecord(200, b"OK", typed(answer_type), answer),
        websocket=FlowEncoder.websocket(WebSocketData(said)),
    )


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """Record each case as a request of a user of its name."""
    recordings = empty(tmp_path_factory.mktemp("search") / "recordings")
    lines = [a_line(number, user=name) for number, name in enumerate(CASES)]
    write_lines(recordings.root, lines, flow=flow_of_case)
    return recordings


def listed(recordings: Recordings, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """Return the sessions that `weir sessions list` prints, and its messages."""
    command = ("sessions", "list", "--json", "--recordings", str(recordings.root), *arguments)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("name", CASES)
def test_a_text_is_found_in_bodies_only(cases: Recordings, name: str) -> None:
    found, messages = listed(cases, "--text", CASES[name]["text"], "--user", name)
    assert len(found) == (name in FOUND) and messages == ""


def test_the_newest_requests_come_first_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are taken in several parts. Requests of the same moment lie in different parts."""
    monkeypatch.setattr(search, "_ROWS", 3)
    recordings = empty(tmp_path / "recordings")
    lines = [a_line(number, at=START - number + number // 5) for number in range(13)]
    write_lines(recordings.root, lines)
    none = a_line(20)
    none.session_id = None
    write_lines(recordings.root, [none], boot="c")
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        rows = list(search.newest(connection, Filters()))
        assert [row["request_id"] for row in rows] == [line.request_id for line in reversed(lines)]
        assert search.count(connection, Filters()) == len(rows)
        before = Filters(until=timestamp(START + 1))
        assert [row["request_id"] for row in search.newest(connection, before)] == [
            line.request_id for line in reversed(lines[:5])
        ]


def test_the_search_stops_at_the_limit_and_says_which_flows_it_could_not_read(tmp_path: Path) -> None:
    recordings = empty(tmp_path / "recordings")
    for number in range(4):
        line = a_line(number)
        line.session_id = f"s{number}"
        write_lines(recordings.root, [line], boot=f"b{number}")
    oldest, *_ = sorted(recordings.segments.glob("*/*/*-b0-*.mitm"))
    oldest.unlink()
    found, messages = listed(recordings, "--text", "xxx", "--limit", "2")
    assert [one["session"] for one in found] == ["s3", "s2"] and messages == ""  # the oldest one was not read
    found, messages = listed(recordings, "--text", "xxx")
    assert [one["session"] for one in found] == ["s3", "s2", "s1"] and messages.startswith("1 recorded exchange ")
