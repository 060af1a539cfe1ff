"""With any cut of a stream into chunks, no value leaks, and only values change."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.masking.corpus import samples
from tests.masking.making import everything, spelt, view

from weir.masking.masker import mask_text
from weir.masking.streams import EventMasker, LineMasker, PlainMasker, TextStream
from weir.masking.walk import MaskingError, Report
from weir.profiles.profile import load_profile

ALL = everything()
VALUES = [
    "alice.smith@example.com",
    "+44 20 7946 0958",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "123-45-6789",
    "192.168.17.4",
    "00:1b:44:11:3a:b7",
    "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
]
TEXTS = [s.document for s in samples(seed=11, count=240) if s.form == "text"]


def chunks(data: Any, sizes: list[int]) -> Iterator[Any]:
    position, i = 0, 0
    while position < len(data):
        size = sizes[i % len(sizes)]
        yield data[position : position + size]
        position, i = position + size, i + 1


def through(masker: Any, data: bytes, sizes: list[int]) -> bytes:
    out = [piece for chunk in chunks(data, sizes) for piece in masker.feed(chunk)]
    return b"".join([*out, *masker.end()])


def events(data: bytes) -> list[str]:
    """Return the data of each event, as a client reads it."""
    found = []
    for block in data.decode().replace("\r\n", "\n").split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            found.append("\n".join(lines))
    return found


# The shape of every vendor: how a stream sends a text in pieces, and where a client reads them.


def openai(pieces: list[str]) -> str:
    def event(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return f"data: {json.dumps({'id': 'chatcmpl-9x', 'object': 'chat.completion.chunk', 'created': 1760000000, 'model': 'm', 'choices': [choice]})}\n\n"

    told = [event({"role": "assistant", "content": ""}), *(event({"content": p}) for p in pieces), event({}, "stop")]
    usage = 'data: {"id":"chatcmpl-9x","choices":[],"usage":{"total_tokens":12}}\n\n'
    return "".join([*told, usage, "data: [DONE]\n\n"])


def openai_text(document: Any) -> str:
    return "".join(c["delta"].get("content") or "" for c in document.get("choices", []))


def anthropic(pieces: list[str]) -> str:
    def event(name: str, **more: Any) -> str:
        return f"event: {name}\ndata: {json.dumps({'type': name, **more})}\n\n"

    told = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": p}) for p in pieces]
    middle = len(told) // 2
    start = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    ended = [
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn"}),
        event("message_stop"),
    ]
    return "".join(
        [
            event("message_start", message={"id": "msg_1", "role": "assistant"}),
            start,
            *told[:middle],
            event("ping"),
            *told[middle:],
            *ended,
        ]
    )


def anthropic_text(document: Any) -> str:
    return str(document["delta"]["text"]) if document["type"] == "content_block_delta" else ""


def cohere(pieces: list[str]) -> str:
    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n"

    told = [event("content-delta", index=0, delta={"message": {"content": {"text": p}}}) for p in pieces]
    return "".join(
        [
            event("message-start", id="1"),
            *told,
            event("content-end", index=0),
            event("message-end", delta={"finish_reason": "COMPLETE"}),
        ]
    )


def cohere_text(document: Any) -> str:
    return str(document["delta"]["message"]["content"]["text"]) if document["type"] == "content-delta" else ""


def responses(pieces: list[str]) -> str:
    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'item_id': 'msg_1', 'output_index': 0, 'content_index': 0, **more})}\n\n"

    told = [event("response.output_text.delta", delta=p) for p in pieces]
    return "".join([*told, event("response.output_text.done", text="".join(pieces)), event("response.completed")])


def responses_text(document: Any) -> str:
    return str(document["delta"]) if document["type"] == "response.output_text.delta" else ""


def tool_calls(pieces: list[str]) -> str:
    told = [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": p}}]}} for p in pieces]
    ended = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    return (
        "".join(f"data: {json.dumps({'choices': [choice]})}\r\n\r\n" for choice in [*told, ended])
        + "data: [DONE]\r\n\r\n"
    )


def tool_calls_text(document: Any) -> str:
    return "".join(t["function"]["arguments"] for c in document["choices"] for t in c["delta"].get("tool_calls", []))


def generic(pieces: list[str]) -> str:
    return "".join(f"data: {json.dumps({'token': {'text': p}})}\n\n" for p in pieces)


def generic_text(document: Any) -> str:
    return str(document["token"]["text"])


SHAPES: list[tuple[Callable[[list[str]], str], Callable[[Any], str]]] = [
    (openai, openai_text),
    (anthropic, anthropic_text),
    (cohere, cohere_text),
    (responses, responses_text),
    (tool_calls, tool_calls_text),
    (generic, generic_text),
]
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@pytest.mark.parametrize(("told", "read"), SHAPES, ids=lambda shape: getattr(shape, "__name__", ""))
@settings(max_examples=60, deadline=None)
@given(value=st.sampled_from(VALUES), cut=SIZES, sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_a_text_told_in_pieces_is_looked_at_as_one(
    told: Callable[[list[str]], str], read: Callable[[Any], str], value: str, cut: list[int], sizes: list[int]
) -> None:
    text = f"Write to {value} today, or not."
    stream = told(list(chunks(text, cut))).encode()
    out = through(EventMasker(ALL, Report()), stream, sizes)
    documents = [json.loads(e) for e in events(out) if e != "[DONE]"]
    assert "".join(map(read, documents)) == mask_text(ALL, text, Report())
    assert value.encode() not in out
    assert ("[DONE]" in events(out)) == ("[DONE]" in events(stream))


@pytest.mark.parametrize(("told", "read"), SHAPES, ids=lambda shape: getattr(shape, "__name__", ""))
@settings(max_examples=20, deadline=None)
@given(cut=SIZES, sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_a_stream_without_values_keeps_its_texts_and_its_order(
    told: Callable[[list[str]], str], read: Callable[[Any], str], cut: list[int], sizes: list[int]
) -> None:
    text = "The quick brown fox, as they say, jumps over it at 7 and again at 12 or so."
    stream = told(list(chunks(text, cut))).encode()
    out = through(EventMasker(ALL, Report()), stream, sizes)
    before, after = ([json.loads(e) for e in events(data) if e != "[DONE]"] for data in (stream, out))
    assert "".join(map(read, after)) == text
    kinds = [d.get("type") for d in before if not read(d)]
    assert [d.get("type") for d in after if not read(d) and (not _told(d) or _empty(before, d, read))][-1:] == kinds[
        -1:
    ]


def _told(document: Any) -> bool:
    return "delta" in json.dumps(document) or "token" in document


def _empty(documents: list[Any], document: Any, read: Callable[[Any], str]) -> bool:
    return any(document == d and not read(d) for d in documents)


@settings(max_examples=150, deadline=None)
@given(text=st.sampled_from(TEXTS), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_a_text_in_any_pieces_is_masked_as_the_whole_is(text: str, sizes: list[int]) -> None:
    stream = TextStream(ALL, Report(), "", ALL.strategy_of)
    out = "".join(stream.feed(piece) for piece in chunks(text, sizes)) + stream.feed("", last=True)
    assert out == mask_text(ALL, text, Report())


@settings(max_examples=100, deadline=None)
@given(text=st.sampled_from(TEXTS), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_plain_text_in_any_chunks(text: str, sizes: list[int]) -> None:
    out = through(PlainMasker(ALL, Report()), text.encode(), sizes)
    assert out.decode() == mask_text(ALL, text, Report())


@settings(max_examples=150, deadline=None)
@given(
    value=st.sampled_from(VALUES),
    escaped=st.lists(st.booleans(), min_size=1, max_size=7),
    cut=SIZES,
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=4),
)
def test_no_spelling_of_an_event_lets_a_value_through(
    value: str, escaped: list[bool], cut: list[int], sizes: list[int]
) -> None:
    pieces = chunks(f"to {value} now", cut)
    stream = "".join(
        f'data: {{"choices":[{{"index":0,"delta":{{"content":{spelt(p, escaped)}}}}}]}}\n\n' for p in pieces
    )
    out = through(EventMasker(ALL, Report()), stream.encode(), sizes)
    text = "".join(openai_text(json.loads(e)) for e in events(out))
    assert text == mask_text(ALL, f"to {value} now", Report())


def test_nothing_more_is_held_back_than_could_be_part_of_a_value() -> None:
    stream = TextStream(ALL, Report(), "", ALL.strategy_of)
    shown = [stream.feed(piece) for piece in ("Hel", "lo", " my", " friend", " who", " lives", " at", " 12", " May")]
    assert "".join(shown) == "Hello my friend who lives at "
    assert stream.feed(" Street and") == "12 May Street "
    assert stream.feed("", last=True) == "and"


def test_unchanged_events_keep_their_bytes() -> None:
    stream = b': keep-alive\r\n\r\nid: 7\r\nevent: x\r\ndata: {"choices" : [ ], "a":1.0}\r\n\r\nretry: 10\n\ndata:{"object":"x"}\n\n'
    assert through(EventMasker(ALL, Report()), stream, [7]) == stream


def test_two_choices_are_two_texts() -> None:
    def event(index: int, text: str) -> str:
        return f'data: {{"choices":[{{"index":{index},"delta":{{"content":"{text}"}}}}]}}\n\n'

    stream = event(0, "bob@exa") + event(1, "fine, ") + event(0, "mple.com ok") + event(1, "thanks")
    out = through(EventMasker(ALL, Report()), stream.encode(), [1000])
    texts = {0: "", 1: ""}
    for data in events(out):
        (choice,) = json.loads(data)["choices"]
        texts[choice["index"]] += choice["delta"]["content"]
    assert texts == {0: "[EMAIL] ok", 1: "fine, thanks"}


def test_events_of_text_are_joined_too() -> None:
    out = through(
        EventMasker(ALL, Report()), b"data: mail bob@exa\n\ndata: mple.com now\n\nevent: end\ndata: ok\n\n", [3]
    )
    assert "".join(events(out)) == "mail [EMAIL] nowok"


def test_lines_of_a_generating_service_are_told_in_pieces_and_others_are_not() -> None:
    told = (
        "".join(json.dumps({"response": p, "done": False}) + "\n" for p in ("a bob@ex", "ample.com b"))
        + '{"done":true,"response":""}\n'
    )
    out = through(LineMasker(ALL, Report()), told.encode(), [11])
    assert "".join(json.loads(line)["response"] for line in out.splitlines()) == "a [EMAIL] b"
    hits = b'{"text":"one end"}\n{"text":"two bob@example.com"}\r\n{"n":1.50}'
    assert through(LineMasker(ALL, Report()), hits, [5]) == b'{"text":"one end"}\n{"text":"two [EMAIL]"}\r\n{"n":1.50}'


def test_named_fields_in_events() -> None:
    named = view({"fields": ["$.user.name", "$..email"], "with": "redact"})
    out = through(EventMasker(named, Report()), b'data: {"user":{"name":"Al","n":1e2},"x":[{"email":"a"}]}\n\n', [4])
    assert out == b'data: {"user":{"name":"[REDACTED]","n":1e2},"x":[{"email":"[REDACTED]"}]}\n\n'


@pytest.mark.parametrize(
    "stream", [b"data: {\"a\": 1, \"a\": 2}\n\n", b"data: {\"a\":\n\n", b"data: \xff@x.com\n\n", b"data: " + b"x" * (9 << 20)]
)  # fmt: skip
def test_what_cannot_be_looked_at_ends_the_stream(stream: bytes) -> None:
    with pytest.raises(MaskingError):
        through(EventMasker(ALL, Report()), stream, [1 << 20])


def test_data_without_end_is_let_through_in_bounded_memory() -> None:
    stream = TextStream(ALL, Report(), "", ALL.strategy_of)
    shown = sum(len(stream.feed("QUJDREVG" * 512)) for _ in range(64))
    assert shown > 64 * 4096 - 10_000


def told(name: str, *documents: Any, masker: Any = None) -> str:
    """Return the member *name* of all events, joined as a client joins it."""
    masker = masker or EventMasker(ALL, Report())
    stream = "".join(f"data: {json.dumps(document)}\n\n" for document in documents)
    out = [json.loads(data) for data in events(through(masker, stream.encode(), [1 << 20]))]
    return "".join(document.get(name, "") for document in out)


PIECES = ["mail ", "maria.", "kel", "ler@ex", "ample", ".org", " ok"]


def test_members_that_recur_beside_pieces_do_not_tell_texts_apart() -> None:
    words = ["the ", "quick ", "fox ", "the ", "quick ", "fox "]
    for beside in (
        lambda i, piece: {"id": sum(map(ord, piece))},  # the id of a token
        lambda i, piece: {"index": i % 5},
        lambda i, piece: {"bold": i % 2 == 0},
        lambda i, piece: {"seq": i, "at": f"2026-11-30T10:00:{i:02}Z"},
    ):
        documents = [{**beside(i, piece), "t": piece} for i, piece in enumerate([*words, *PIECES])]
        assert told("t", *documents) == "the quick fox the quick fox mail [EMAIL] ok"


def test_whatever_tells_texts_apart_that_are_told_in_turns() -> None:
    other = [" so", " it", " is", " fine", " here", " and", " there"]
    for name in (
        lambda i: {"agent": f"Senior Researcher {i}"},
        lambda i: {"agent": {"name": f"R{i}"}},
        lambda i: {"path": [f"R{i}"]},
        lambda i: {"who": i + 0.5},
        lambda i: {"final": i == 1},
    ):
        pairs = zip(PIECES, other, strict=True)
        documents = [document for a, b in pairs for document in ({**name(0), "t": a}, {**name(1), "u": b})]
        assert told("t", *documents) == "mail [EMAIL] ok"
        both = [{**name(i), "t": piece} for pair in zip(PIECES, other, strict=True) for i, piece in enumerate(pair)]
        assert "[EMAIL]" in told("t", *both) and "ler@ex" not in told("t", *both)


@pytest.mark.parametrize(
    "pieces",
    [
        ["mac is ", "aa:", "aa:", "aa:", "bb:", "cc:", "dd ok"],
        ["ip is 2001:db8", ":abcd", ":abcd", ":abcd", ":1:2:3 ok"],
        ["pay ", "5555 ", "5555 ", "5555 ", "4444 ok"],
        ["mac ", "aa:", "aa:11:22:33:44 ok"],
    ],
)
def test_pieces_that_are_told_twice(pieces: list[str]) -> None:
    try:
        text = told("t", *({"t": piece} for piece in pieces))
    except MaskingError as error:
        assert "was already passed on" in str(error)  # noqa: PT017 - either is right
    else:
        assert text == mask_text(ALL, "".join(pieces), Report()) and "[" in text


def test_a_unit_like_one_before_is_like_it_in_all_texts() -> None:
    said = [
        ("w2", " is "),
        ("w0", " is "),
        ("w1", " mail"),
        ("w1", " is "),
        ("w1", "4111 1111"),
        ("w1", " 1111 111"),
        ("w1", "1"),
    ]
    assert "1111" not in told("t", *({"who": who, "t": text} for who, text in said))


@pytest.mark.parametrize("between", [[], [{"type": "ping"}], [{"type": "ping"}] * 12])
def test_a_text_that_another_member_goes_on_with(between: list[Any]) -> None:
    documents = [{"a": "My card: 4111 1111"}, *between, {"id": "x", "type": "y", "b": {"t": " 1111 1111 ok"}}]
    stream = "".join(f"data: {json.dumps(document)}\n\n" for document in documents)
    assert b"1111" not in through(EventMasker(ALL, Report()), stream.encode(), [1 << 20])


def test_declared_texts_whose_names_change() -> None:
    framing = load_profile("openai").paths.find("POST", "/v1/responses").operation.framing  # type: ignore[union-attr]
    for name in (lambda i: f"item_{i}", lambda i: ("item_1", None)[i % 2]):
        documents = [
            {"type": "response.output_text.delta", "item_id": name(i), "output_index": 0, "delta": piece}
            for i, piece in enumerate(PIECES)
        ]
        assert told("delta", *documents, masker=EventMasker(ALL, Report(), framing)) == "mail [EMAIL] ok"


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("您好，这是一个测试。请发送邮件到我们的地址，谢谢您的帮助！我们会尽快回复。" * 5, 40),
        ("/-." * 400, 210),
        ('{"to":"Al","subject":"Hello there","body":"Nothing to say","tags":["a","b"]}' * 5, 30),
        ("It begins with -----BEGIN RSA PRIVATE KEY----- and then the words of a sentence follow. " * 8, 60),
    ],
)
def test_what_has_no_spaces_is_held_no_longer_than_it_may_be_a_value(text: str, most: int) -> None:
    masker, held, shown = EventMasker(ALL, Report()), 0, 0
    for number, letter in enumerate(text):
        shown += len(masker.feed(f"data: {json.dumps({'t': letter})}\n\n".encode()))
        held = max(held, number + 1 - shown)
    assert held <= most


def test_a_quote_begins_an_event_of_text() -> None:
    stream = 'event: output\ndata: "To be\n\nevent: output\ndata:  bob@exam\n\nevent: output\ndata: ple.com"\n\n'
    out = through(EventMasker(ALL, Report()), stream.encode(), [7])
    assert "".join(events(out)) == '"To be [EMAIL]"'


@pytest.mark.parametrize("prefix", ["", "0:", "data: "])
def test_lines_of_json_in_plain_text(prefix: str) -> None:
    lines = "".join(f"{prefix}{json.dumps(piece)}\n" for piece in PIECES)
    for sizes in ([1 << 20], [3, 7]):
        out = through(PlainMasker(ALL, Report()), lines.encode(), sizes).decode()
        assert "".join(json.loads(line.removeprefix(prefix)) for line in out.splitlines()) == "mail [EMAIL] ok"


def test_log_probabilities_go_with_the_value_that_they_tell() -> None:
    def event(text: str) -> dict[str, Any]:
        return {"t": text, "logprobs": {"content": [{"token": text, "logprob": -0.5}]}}

    stream = "".join(f"data: {json.dumps(event(text))}\n\n" for text in ("hello ", "bob@exa", "mple.com", " ok"))
    out = [json.loads(e) for e in events(through(EventMasker(ALL, Report()), stream.encode(), [50]))]
    assert [d["logprobs"] is None for d in out] == [False, True, True, False]
    assert "".join(d["t"] for d in out) == "hello [EMAIL] ok"


def test_one_comment_waits_for_what_is_held_and_no_more() -> None:
    masker = EventMasker(ALL, Report())
    assert masker.feed(b'data: {"t": "wor"}\n\n: one\n\n') == []
    assert masker.feed(b": two\n\n") == [b": two\n\n"]
    assert masker.end() == [b'data: {"t": "wor"}\n\n', b": one\n\n"]
