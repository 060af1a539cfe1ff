"""Known masking mistakes of comparable systems, each as a case that is correct here."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from tests.masking.making import everything, masked_bytes, masks, view

from weir.base.content import parse
from weir.base.problems import Kind, Refusal
from weir.masking.detectors.engine import Detectors
from weir.masking.masker import mask_json, mask_text
from weir.masking.streams import EventMasker
from weir.masking.walk import Report
from weir.path.exchange import Answered, Copies, Matched
from weir.path.steps.masking import mask_answer

BODY = b'{"results": [{"index": 1, "relevance_score": 0.50, "document": {"text": "mail bob@example.com"}}]}'


def masked_answer(*entries: dict[str, Any]) -> tuple[bytes, bytes]:
    """What the caller and the record have of an answer with `BODY`."""
    routed: Any = SimpleNamespace(connection=SimpleNamespace(masks=masks(*entries)))
    identified: Any = SimpleNamespace(principal=SimpleNamespace(groups=frozenset()))
    exchange: Any = SimpleNamespace(request_id="r", copies=Copies())
    answered = Answered(200, b"OK", [], "application/json", BODY, parse(BODY))
    caller, record, _ = mask_answer(exchange, routed, identified, Matched(None, {}, {}), answered)
    return caller, record


def test_a_detector_that_fails_does_not_let_the_answer_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, text: bytes) -> None:
        raise RuntimeError("analyzer down")

    monkeypatch.setattr(Detectors, "fired_and_present", fail)
    with pytest.raises(Refusal) as refused:
        masked_answer({"detect": ["email"], "with": "redact"})
    assert refused.value.problem.kind is Kind.UPSTREAM_UNREADABLE and "bob@" not in refused.value.problem.detail


def test_documents_of_a_rerank_are_masked() -> None:
    masked, _ = masked_bytes(BODY, {"detect": ["email"], "with": "redact"})
    assert masked == BODY.replace(b"bob@example.com", b"[EMAIL]")


def test_masking_only_the_record_leaves_the_answer_as_it_came() -> None:
    caller, record = masked_answer({"detect": ["email"], "with": "redact", "hide_from": ["record"]})
    assert caller is BODY and b"bob@" not in record


def test_no_byte_of_a_stream_is_skipped_and_none_waits_for_the_end() -> None:
    masker = EventMasker(everything(), Report())
    told = [
        f'data: {{"choices":[{{"index":0,"delta":{{"content":"{p}"}}}}]}}\n\n'.encode()
        for p in ("One ", "two bob@exa", "mple.com ")
    ]
    out = [b"".join(masker.feed(event)) for event in told]
    assert b"One " in out[0], "the first word does not wait for the last"
    assert b"bob@exa" not in out[1] and b"[EMAIL]" in out[2]


def test_a_path_that_ends_in_a_filter_masks() -> None:
    document = b'{"a":[{"k":1,"v":"x"},{"k":2,"v":"y"}],"o":{"p":{"k":1}}}'
    assert masked_bytes(document, {"fields": ["$.a[?@.k == 1]"], "with": "redact"})[0] == document.replace(
        b'{"k":1,"v":"x"}', b'"[REDACTED]"'
    )
    assert masked_bytes(document, {"fields": ["$.o[?@.k == 1]"], "with": "redact"})[0] == document.replace(
        b'{"p":{"k":1}}', b'{"p":"[REDACTED]"}'
    )


def test_equal_values_give_equal_tokens_in_every_process() -> None:
    entry = {"detect": ["email"], "with": "hash"}
    one, two = (mask_text(view(entry), "bob@example.com and bob@example.com", Report()) for _ in range(2))
    assert one == two and len(set(one.split(" and "))) == 1


def test_large_numbers_survive_beside_a_mask() -> None:
    body = b'{"id":12345678901234567890123,"f":0.1000000000000000055,"x":"s"}'
    assert masked_bytes(body, {"fields": ["$.x"], "with": "redact"})[0] == body.replace(b'"s"', b'"[REDACTED]"')


def test_padding_does_not_hide_a_value() -> None:
    body = json.dumps({"pad": "x" * 100_000, "deep": [[[[{"a": "bob@example.com"}]]]]}).encode()
    assert b"bob@" not in mask_json(everything(), body, parse(body), Report())
