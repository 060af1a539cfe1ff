"""JSONPath: the meaning of RFC 9535, agreement of find and slots, refusal of anything with another meaning."""

from typing import Any

import jsonpath_rfc9535
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.base.jsonpath import PathError, Paths, compile_path

DOCUMENT = {
    "results": [{"document": {"user_id": "a", "email": "x"}}, {"document": {"email": "y"}}, "stray"],
    "a": {"b": [1, 2, 3]},
    "x-y": 1,
}


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [DOCUMENT]),
        ("$.a.b", [[1, 2, 3]]),
        ("$.results[*].document.user_id", ["a"]),
        ("$..email", ["x", "y"]),
        ("$..document.email", ["x", "y"]),
        ("$.results..email", ["x", "y"]),
        ("$.a.b[0]", [1]),
        ("$.a.b[-1]", [3]),
        ("$.a.b[7]", []),
        ("$.a.b[1:]", [2, 3]),
        ("$.a.b[::2]", [1, 3]),
        ("$.a.*", [[1, 2, 3]]),
        ("$['a']['b'][0,2]", [1, 3]),
        ("$['x-y']", [1]),
        ("$.missing.further", []),
        ("$.a.b.c", []),
        ("$..[0]", [DOCUMENT["results"][0], 1]),  # type: ignore[index]
        ("$.results[?@.document.email == 'y'].document.email", ["y"]),
        ("$.results[?@.document.user_id && @.document.email].document.email", ["x"]),
        ("$.results[?!@.document.user_id]", [{"document": {"email": "y"}}, "stray"]),
        ("$.a.b[?@ >= 2]", [2, 3]),
        ("$.a.b[?(@ == 1 || @ == 3)]", [1, 3]),
        ("$..[?@.email == 'x']", [{"user_id": "a", "email": "x"}]),
        ("$.results[?@..user_id].document.user_id", ["a"]),
    ],
)
def test_finds_what_the_rfc_says(path: str, found: list[Any]) -> None:
    assert compile_path(path).find(DOCUMENT) == found
    assert compile_path(path).first(DOCUMENT, "none") == (found[0] if found else "none")


@pytest.mark.parametrize(
    "path",
    ["", "a.b", "$.", "$.a - b", "$.a + $.b", "$.a[\\b]", "$['*']", "$.a.`len`", "$.a where b", "$.a|$.b",
     "$['a\\'b']", "$.a[", "$..", "$.a[?b]", "$ .. ", "$.a-b", "$.a[?@.b = 1]", "$.a[?@.b =~ 'x']", "$.a[?(@.b & @.c)]",
     "$.a[?'x' == @.b]", "$.a[?1 == 1]", "$.a[?$.b]", "$.a[?@.b == $.c]", "$.a[?length(@.b) > 1]", "$.a[?@.* == 1]"],
)  # fmt: skip
def test_refuses_what_is_not_plain_jsonpath(path: str) -> None:
    with pytest.raises(PathError):
        compile_path(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
steps = st.lists(
    st.sampled_from([".a", ".b", "..a", "..b", "[*]", ".*", "[0]", "[-1]", "[0:2]", "..[0]", "..*"]),
    min_size=1,
    max_size=4,
)


@given(document=json_values, path=steps)
def test_slots_are_exactly_where_the_found_values_stand(document: Any, path: list[str]) -> None:
    compiled = compile_path("$" + "".join(path))
    assert [container[key] for container, key in compiled.slots(document)] == compiled.find(document)


# The standard's meaning, by another implementation of it.

STEPS = st.sampled_from(
    [
        ".a",
        ".b",
        "['a']",
        "['b c']",
        "[0]",
        "[-1]",
        "[1:]",
        "[:2]",
        "[::2]",
        "[0:3:2]",
        "[*]",
        ".*",
        "..a",
        "..*",
        "..[0]",
        "..b",
        "['a','b']",
        "[-2:]",
        "..['a']",
        "[5]",
        "[::]",
        "[:]",
        "[3:0:-1]",
        "[::-1]",
        "[0:3:0]",
        "[1,0]",
        "[0,0]",
        "[?@.a]",
        "[?!@.a]",
        "[?@.a == 1]",
        "[?@.a != 'x']",
        "[?@ < 2]",
        "[?@ >= 'x']",
        "[?@.a == @.b]",
        "[?@.a <= @['b c']]",
        "[?@.a == null]",
        "[?@ != true]",
        "[?@[0] == 1]",
        "[?@.a && @.b]",
        "[?@.a || @.b == 2]",
        "[?@.a && (@.b || @[1])]",
        "[?@.*]",
        "[?@..a]",
        "..[?@.a]",
        "[?@ == -1]",
        "[?@.a > 0.5]",
    ]
)
DOCUMENTS = st.recursive(
    st.one_of(st.integers(-3, 3), st.sampled_from(["x", "", None, True])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "b", "b c", "*", "0"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(steps=st.lists(STEPS, max_size=4), document=DOCUMENTS)
def test_what_is_accepted_means_what_rfc_9535_says(steps: list[str], document: Any) -> None:
    text = "$" + "".join(steps)
    try:
        path = compile_path(text)
    except PathError:
        return  # refusal at load is also correct
    expected = [node.value for node in jsonpath_rfc9535.find(text, document)]
    found = path.find(document)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    if not path.selects_document:
        assert [container[key] for container, key in path.slots(document)] == found
    assert path.first(document, "none") == (found[0] if found else "none")


@settings(max_examples=200, deadline=None)
@given(paths=st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=5), document=DOCUMENTS)
def test_many_paths_in_one_walk_find_what_each_finds_alone(paths: list[list[str]], document: Any) -> None:
    compiled = []
    for steps in paths:
        try:
            compiled.append(compile_path("$" + "".join(steps)))
        except PathError:
            continue
    together = Paths((path, n) for n, path in enumerate(compiled)).slots(document)
    for number, path in enumerate(compiled):
        mine = [(id(c), repr(k)) for n, c, k in together if n == number]
        assert sorted(mine) == sorted((id(c), repr(k)) for c, k in path.slots(document))
