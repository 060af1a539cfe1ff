"""Streams are measured: reported tokens, the size of texts, and which documents only report usage."""

from typing import Any

import msgspec
import pytest
from tests.corpora import corpus
from tests.masking.making import everything
from tests.masking.shapes import SHAPES, StreamShape
from tests.masking.test_stream_shapes import framing

from weir.base.content import parse
from weir.base.mistakes import SettingError
from weir.config.profile_settings import ProfileSettings
from weir.masking.metering import Documents, Meter, UsageFilter
from weir.masking.streams import EventMasker
from weir.masking.walk import Report
from weir.profiles.profile import Operation, compile_profile, load_profile, names
from weir.profiles.usage import NO_USAGE

CORPUS = corpus("usage")
EVENTS = "text/event-stream; charset=utf-8"
LINE_ENDS = [b"\n", b"\r\n", b"\r"]


def operation_of(case: dict[str, Any]) -> Operation:
    found = load_profile(case.get("profile", "openai")).paths.find("POST", case["path"])
    assert found is not None
    return found.operation


def own_profile(operation: dict[str, Any]) -> tuple[Operation, ...]:
    operations = [{"paths": "/ask", "operation": "chat", **operation}]
    settings = ProfileSettings.model_validate({"profile": "own", "title": "Own", "operations": operations})
    return compile_profile(settings, {}).operations


def data_of(event: Any) -> bytes:
    return event.encode() if isinstance(event, str) else msgspec.json.encode(event)


def chunks(body: bytes, size: int) -> list[bytes]:
    return [body[i : i + size] for i in range(0, len(body), size)]


def streams() -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in CORPUS["streams"]]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("line_end", LINE_ENDS)
@pytest.mark.parametrize("case", streams())
def test_a_stream_is_measured(case: dict[str, Any], line_end: bytes, size: int) -> None:
    operation = operation_of(case)
    events = [b"event: x" + line_end + b"data: " + data_of(e) + line_end * 2 for e in case["events"]]
    meter = Meter(EVENTS, operation.usage, operation.framing.records, sizes=True)
    reports = Meter(EVENTS, operation.usage, operation.framing.records, sizes=False)
    unasked, received = UsageFilter(EVENTS, operation.usage, reports.reports), []
    for chunk in chunks(b"".join(events), size):
        meter.feed(chunk)
        reports.feed(chunk)
        received += unasked.feed(chunk)
    meter.end()
    reports.end()
    assert (meter.tokens, meter.text) == (case["tokens"], case["text"])
    assert (reports.tokens, reports.reports) == (case["tokens"], meter.reports)
    left = [event for i, event in enumerate(events) if i not in case.get("unasked", ())]
    if operation.usage.option:
        assert b"".join([*received, *unasked.end()]) == b"".join(left)


@pytest.mark.parametrize("case", CORPUS["own"], ids=lambda case: case["name"])
def test_a_stream_of_an_own_profile_is_measured(case: dict[str, Any]) -> None:
    response = {"results": "$.results", "tokens": "$.meta.tokens"}
    (operation,) = own_profile({"response": response, **({"usage": case["usage"]} if "usage" in case else {})})
    lines = case.get("lines", False)
    meter = Meter("application/x-ndjson" if lines else EVENTS, operation.usage, (), sizes=False)
    for event in case["events"]:
        meter.feed(data_of(event) + b"\n" if lines else b"data: " + data_of(event) + b"\n\n")
    meter.end()
    assert meter.tokens == case["tokens"]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"usage": {"tokens": "$.u", "option": "$.o[*]"}, "response": {"results": "$.r"}}, "'$.o[*]' is not a plain path"),
        ({"usage": {"tokens": "$.u", "option": "$.o"}}, "`option` needs the paths of `results`"),
        ({"usage": {"tokens": "$.u", "option": "$.o"}, "request": {"body": "ndjson"}, "response": {"results": "$.r"}}, "'$.o' is not a plain path to a member of a JSON request"),
    ],
)  # fmt: skip
def test_mistakes_in_usage(operation: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingError) as found:
        own_profile(operation)
    assert expected in str(found.value)


@pytest.mark.parametrize("case", CORPUS["requests"], ids=lambda case: case["name"])
def test_the_option_that_asks_for_usage(case: dict[str, Any]) -> None:
    operation, content = operation_of(case), case["body"].encode()
    body = parse(content)
    if case["sent"] == "same":
        assert not operation.asks_usage(body)
        return
    assert operation.asks_usage(body)
    sent = operation.usage.ask(body, content)
    assert sent.decode() == case["sent"]
    assert list(parse(sent).items()) == list(body.items()), "the judged document is the sent one"


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_a_body_that_is_no_object_has_no_option(body: Any) -> None:
    usage = operation_of({"path": "/v1/chat/completions"}).usage
    assert usage.option == ("stream_options", "include_usage") and not usage.is_unasked(body)


def test_an_event_with_several_lines_of_data_and_one_without_an_end() -> None:
    usage = operation_of({"path": "/v1/chat/completions"}).usage
    meter = Meter(EVENTS, usage, (), sizes=False)
    meter.feed(b'\xef\xbb\xbfdata: {"choices":[],\ndata:  "usage":{"total_tokens":\n')
    meter.feed(b"data:7}}\n")
    assert meter.tokens is None
    meter.end()
    assert meter.tokens == 7


def test_lines_and_plain_text() -> None:
    lines = Meter("application/x-ndjson", NO_USAGE, (), sizes=True)
    lines.feed(b'{"a":"xy","b":1}\r\n{"a":')
    lines.feed(b'"z"}')
    lines.end()
    assert (lines.tokens, lines.text) == (None, 3)
    plain = Meter("text/plain", NO_USAGE, (), sizes=True)
    plain.feed(b"Hello there")
    plain.end()
    assert plain.text == 11


def test_a_long_event_in_small_chunks_is_searched_once() -> None:
    documents = Documents(EVENTS)
    for _ in range(200_000):
        assert list(documents.feed(b"data: 12\n")) == []
    assert len(documents.end()) == 1_800_000


def test_every_operation_that_can_stream_says_where_its_stream_reports_usage() -> None:
    silent = {
        "/".join(entry.paths)
        for name in names()
        for entry in load_profile(name).settings.operations
        if (entry.texts or entry.request.stream) and entry.usage is None and entry.operation != "read"
    }
    assert silent == set()


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.form == "events"], ids=lambda shape: shape.name)
def test_masks_keep_the_number_of_documents(shape: StreamShape) -> None:
    """The report of usage is removed by its number, since masks may hide it."""
    body = b"".join(shape.told(["Write to alice@exam", "ple.com or", " call +44 20 7946 0958 tod", "ay."]))
    masker = EventMasker(everything(), Report(), framing(shape))
    received, shown = Documents(EVENTS), Documents(EVENTS)
    masked = b"".join([*masker.feed(body), *masker.end()])
    counts = [(len(list(d.feed(data))), bool(d.end())) for d, data in ((received, body), (shown, masked))]
    assert counts[0] == counts[1]
