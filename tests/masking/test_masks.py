"""Masks hide the values that their paths select, leave the rest, and change nothing the second time."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.base.content import encode, parse
from weir.base.jsonpath import compile_path
from weir.base.mistakes import SettingError
from weir.config.model import MaskSettings
from weir.masking.masker import mask_json
from weir.masking.masks import MaskedField, Masks, View, compile_masks
from weir.masking.strategies import REDACTED, Tokens
from weir.masking.walk import Report

KEY = b"k" * 32


def masks(*entries: dict[str, Any], key: bytes = KEY) -> Masks:
    return compiled_masks(json.dumps(entries), key)


@cache
def compiled_masks(entries: str, key: bytes) -> Masks:
    return compile_masks([MaskSettings.model_validate(entry) for entry in json.loads(entries)], Tokens([key]))


def masked(document: Any, *entries: dict[str, Any], key: bytes = KEY) -> Any:
    return reported(document, *entries, key=key)[0]


def reported(document: Any, *entries: dict[str, Any], key: bytes = KEY) -> tuple[Any, list[MaskedField]]:
    report = Report()
    body = encode(document)
    return parse(mask_json(masks(*entries, key=key).record("response"), body, parse(body), report)), report.fields()


def test_strategies() -> None:
    document = {"a": "secret value", "b": 4242424242424242, "c": {"d": 1}, "e": None, "f": "ab", "kept": [1.0, "x"]}
    assert masked(document, {"fields": ["$.a", "$.c", "$.e"], "with": "redact"}) == {
        **document,
        "a": REDACTED,
        "c": REDACTED,
        "e": REDACTED,
    }
    assert masked(document, {"fields": ["$.a"], "with": {"replace": "-"}})["a"] == "-"
    partial = masked(document, {"fields": ["$.*"], "with": "partial"})
    assert (partial["a"], partial["b"], partial["f"], partial["c"]) == (
        "*********lue",
        "************4242",
        "**",
        REDACTED,
    )
    assert "a" not in masked(document, {"fields": ["$.a"], "with": "drop"})


def test_hashes_are_equal_for_equal_values_under_one_key_only() -> None:
    entry = {"fields": ["$[*]"], "with": "hash"}
    one, two, three, number = masked(["x", "x", "y", 1], entry)
    assert one == two != three != number and one.startswith("hash:") and masked(["1"], entry)[0] != number
    assert masked(["x"], entry, key=b"other" * 8)[0] != one


def test_a_value_cannot_pass_itself_off_as_masked() -> None:
    forged = "hash:alice-and-her-secrets1:AAAAAAAA"
    assert masked([forged], {"fields": ["$[*]"], "with": "hash"}) != [forged]


def test_dropping_from_a_list_keeps_positions() -> None:
    assert masked([1, 2, 3], {"fields": ["$[1]"], "with": "drop"}) == [1, None, 3]
    assert masked({"r": [{"index": 0, "x": 1}, {"index": 1}]}, {"fields": ["$.r[*].x"], "with": "drop"}) == {
        "r": [{"index": 0}, {"index": 1}]
    }


def test_overlapping_paths_see_the_document_as_it_came() -> None:
    document = {"a": {"b": "x", "email": "e"}, "email": "f"}
    result = masked(document, {"fields": ["$.a"], "with": "drop"}, {"fields": ["$..email"], "with": "redact"})
    assert result == {"email": REDACTED}


def test_the_report_counts_what_changed() -> None:
    document = {"r": [{"e": "a"}, {"e": "b"}, {}]}
    entry = {"fields": ["$.r[*].e", "$.none"], "with": "redact"}
    once, report = reported(document, entry)
    assert report == [MaskedField("$.r[*].e", "redact", 2, rule="masks[0]")]
    assert reported(once, entry)[1] == []


def test_views() -> None:
    compiled = masks(
        {"fields": ["$.a"], "with": "redact"},
        {"fields": ["$.b"], "with": "redact", "hide_from": ["upstream"]},
        {"fields": ["$.c"], "with": "redact", "in": ["response"], "reveal_to": {"groups": ["support"]}},
    )

    def paths(view: View) -> list[str]:
        return [path.text for _, path in view.named]

    assert paths(compiled.caller(frozenset())) == ["$.a", "$.c"]
    assert paths(compiled.caller(frozenset(["support", "others"]))) == ["$.a"]
    assert paths(compiled.upstream()) == ["$.b"]
    assert paths(compiled.record("request")) == ["$.a", "$.b"]
    assert paths(compiled.record("response")) == ["$.a", "$.b", "$.c"]  # the record hides what any reader must not see


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("strategy", ["redact", "hash", "partial", "drop", {"replace": "x"}])
@pytest.mark.parametrize("path", ["$.a", "$..b", "$.*", "$..*", "$[*].c", "$..[0]", "$.a.b"])
@given(document=json_values)
def test_masking_twice_is_masking_once(strategy: Any, path: str, document: Any) -> None:
    once = masked(document, {"fields": [path], "with": strategy})
    assert masked(once, {"fields": [path], "with": strategy}) == once


@given(document=json_values, value=st.text(min_size=5))
def test_no_selected_text_is_left(document: Any, value: str) -> None:
    document = {"a": value, "rest": document}
    assert compile_path("$.a").first(masked(document, {"fields": ["$.a"], "with": "hash"})) != value


@pytest.mark.parametrize(
    "entry", [{"fields": ["$"], "with": "redact"}, {"fields": ["$.a[?@.b =~ 'x']"], "with": "redact"},
              {"fields": ["$.a"], "with": {"replace": "hash:" + "A" * 22 + ":" + "A" * 8}}])  # fmt: skip
def test_mistakes(entry: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        masks(entry)


@pytest.mark.parametrize("name", ["person", "PERSON", "names", "address", "organization"])
def test_kinds_of_other_tools_are_explained(name: str) -> None:
    with pytest.raises(SettingError, match="names of persons, companies and places are not recognised"):
        masks({"detect": [name], "with": "redact"})
