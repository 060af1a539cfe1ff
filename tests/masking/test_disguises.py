"""A value is masked in any spelling; a text that only looks unusual keeps its bytes."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpora import corpus
from tests.masking.corpus import samples
from tests.masking.making import everything, view
from tests.masking.quality import DETECTORS, leaves

from weir.base.content import parse
from weir.base.normal import IGNORABLE
from weir.config.model import DetectorSettings
from weir.masking.detectors.custom import compile_detector
from weir.masking.masker import mask_json, mask_target, mask_text
from weir.masking.streams import EventMasker
from weir.masking.walk import Report

ALL, HASHED = everything(), everything("hash")
IGNORED = {chr(p) for first, last in IGNORABLE for p in range(first, last + 1)}
TABLE: dict[str, Any] = corpus("disguises")
VALUES: dict[str, str] = TABLE["values"]
CASES = [(d, kind) for d in TABLE["disguises"] for kind in d.get("kinds") or VALUES]
NAMES = [f"{d['name']}, {kind}" for d, kind in CASES]


def disguised(disguise: dict[str, Any], value: str) -> str:
    if "every" in disguise:
        return str(disguise["every"].join(value))
    if "once" in disguise:
        return f"{value[: len(value) // 2]}{disguise['once']}{value[len(value) // 2 :]}"
    if "digits" in disguise:
        return "".join(chr(ord(disguise["digits"]) + int(c)) if c.isdigit() else c for c in value)
    if "before" in disguise:
        return "".join(disguise["before"].get(c, "") + c for c in value)
    return "".join(disguise["replace"].get(c, c) for c in value)


def in_json(text: str, ascii_only: bool) -> str:
    body = json.dumps({"a": {"b": [text]}, "n": 1.50}, ensure_ascii=ascii_only).encode()
    masked: dict[str, Any] = json.loads(mask_json(ALL, body, parse(body), Report()))
    return str(masked["a"]["b"][0])


def told(pieces: list[str]) -> str:
    """Return the text of a stream of chat completions with *pieces*."""
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    masker = EventMasker(ALL, Report())
    lines = b"".join([*masker.feed(stream.encode()), *masker.end()]).decode().split("\n")
    chosen = (json.loads(line[6:])["choices"][0] for line in lines if line.startswith("data: {"))
    return "".join(choice["delta"].get("content", "") for choice in chosen)


@pytest.mark.parametrize(("disguise", "kind"), CASES, ids=NAMES)
def test_disguised_values_are_masked_whole_and_nothing_else(disguise: dict[str, Any], kind: str) -> None:
    text = f"Please note {disguised(disguise, VALUES[kind])} today, thanks."
    expected = f"Please note [{kind.upper()}] today, thanks."
    assert mask_text(ALL, text, Report()) == expected
    assert in_json(text, ascii_only=True) == in_json(text, ascii_only=False) == expected
    assert told(list(text)) == expected


@pytest.mark.parametrize("number", range(len(TABLE["disguises"])), ids=[d["name"] for d in TABLE["disguises"]])
def test_disguised_values_in_a_stream_cut_anywhere(number: int) -> None:
    """Use one kind per disguise, another kind for the next."""
    disguise = TABLE["disguises"][number]
    kinds = disguise.get("kinds") or list(VALUES)
    kind = kinds[number % len(kinds)]
    value = disguised(disguise, VALUES[kind])
    for cut in range(4, len(value) + 8):
        text = f"Note {value} today."
        assert told([text[:cut], text[cut:]]) == f"Note [{kind.upper()}] today.", cut


def characters() -> Iterator[int]:
    for first, last in IGNORABLE:
        yield from range(first, min(last, first + 64) + 1)


@settings(max_examples=250, deadline=None)
@given(
    kind=st.sampled_from(sorted(VALUES)),
    at=st.lists(st.tuples(st.integers(0, 40), st.sampled_from([*map(chr, characters())])), min_size=1, max_size=12),
    cut=st.integers(1, 60),
)
def test_characters_without_a_glyph_anywhere_change_nothing(kind: str, at: list[tuple[int, str]], cut: int) -> None:
    value = VALUES[kind]
    for place, char in at:
        value = f"{value[: place % (len(value) + 1)]}{char}{value[place % (len(value) + 1) :]}"
    text = f"Note {value} today."
    for masked in (mask_text(ALL, text, Report()), in_json(text, ascii_only=False), told([text[:cut], text[cut:]])):
        assert "".join(c for c in masked if c not in IGNORED) == f"Note [{kind.upper()}] today."


@pytest.mark.parametrize("name", ["zero width space", "tag", "strike-through", "persian digits", "bold digits", "thin space", "tab"])  # fmt: skip
def test_equal_values_have_equal_tokens_however_they_are_typed(name: str) -> None:
    disguise = next(d for d in TABLE["disguises"] if d["name"] == name)
    for kind in disguise.get("kinds") or VALUES:
        plain = mask_text(HASHED, f"Note {VALUES[kind]} today.", Report())
        assert plain.startswith("Note hash:")
        assert mask_text(HASHED, f"Note {disguised(disguise, VALUES[kind])} today.", Report()) == plain


def test_escapes_of_a_character_in_two_halves() -> None:
    digits = "".join(f"\\ud835\\udf{0xCE + int(d):x}" for d in "4111111111111111")
    assert in_json(f'{{"card": "{digits}"}}', ascii_only=True) == '{"card": "[CREDIT_CARD]"}'
    assert in_json("mail maria\\x2ekeller\\u{40}example.org", ascii_only=True) == "mail [EMAIL]"


def test_values_in_names_targets_and_beside_disguised_words() -> None:
    body = '{"maria.keller\u200b@example.org": {"Soci\u00adal Secu\u00adrity Num\u00adber": "536226726"}}'.encode()
    masked = mask_json(ALL, body, parse(body), Report()).decode()
    assert masked == '{"[EMAIL]": {"Soci\u00adal Secu\u00adrity Num\u00adber": "[US_SSN]"}}'
    target = mask_target(ALL, b"/q?mail=maria.keller%E2%80%8B%40example.org&page=2", Report())
    assert target == b"/q?mail=%5BEMAIL%5D&page=2"
    assert mask_text(ALL, "pass\u200bword: Tr0ub4dor&3.", Report()) == "pass\u200bword: [PASSWORD]."


def test_a_character_without_a_glyph_may_end_a_word() -> None:
    assert (
        mask_text(ALL, "paid\u200b4111\u200b111111111111\u200bthanks", Report())
        == "paid\u200b[CREDIT_CARD]\u200bthanks"
    )


def test_own_detectors_read_the_plain_form() -> None:
    own = {"employee": compile_detector("employee", DetectorSettings(pattern=r"EMP-\d{6}"), Path())}
    mine = view({"detect": ["employee"], "with": "redact"}, own=own)
    assert mask_text(mine, "badge ＥＭＰ\u2011١٢٣\u200b456.", Report()) == "badge [EMPLOYEE]."


# Cards over several lines and cells, and words for or against a card.


@pytest.mark.parametrize(
    "text",
    [
        "see {4111 1111\n1111 1111}, ok", "> {4111 1111\r\n> 1111 1111}\r\n> thanks", "no.\n{4111\n1111\n1111\n1111}\n", "{4111-1111-\n1111-1111}",
        "amex {3782 822463\n10005}", "{4111\t1111\t1111\t1111}", "card\t{4111\t1111\t1111\t1111}\nexp\t12/27", "card:\n{4111 1111\n1111 1111}\n123",
        "{4111.1111.1111.1111}", "{4111 – 1111 – 1111 – 1111}", "pay {4111·1111·1111·1111}", "My order was paid with {4111111111111111}",
        "order 77: card {4111111111111111}", "card of the order {4111 1111 1111 1111}", "tracking of my visa {4111\u20091111\u20091111\u20091111}",
    ],
)  # fmt: skip
def test_cards_in_parts_and_near_words(text: str) -> None:
    plain, before = text.replace("{", "").replace("}", ""), text.partition("{")[0]
    after = text.partition("}")[2]
    assert mask_text(ALL, plain, Report()) == f"{before}[CREDIT_CARD]{after}"
    assert told([plain[: len(before) + 7], plain[len(before) + 7 :]]) == f"{before}[CREDIT_CARD]{after}"


@pytest.mark.parametrize(
    "text",
    [
        "1\n4111\n1111\n1111\n1111\n", "4111\n1111\n1111\n1111\n2222", "payment\n4111\n1111\n1111\n1111\n2222\n3333\n4444\n", "a\tb\tc\td\n4111\t1111\t1111\t1111\n2\t3\t4\t5",
        "a,4111\n1111,1111\n1111,1", "order 4111111111111111", "4111 1111\n11111111", "4111,1111,1111,1111", "4112 1111\n1111 1111",
    ],
)  # fmt: skip
def test_numbers_that_are_no_card(text: str) -> None:
    assert mask_text(ALL, text, Report()) == text
    assert told(list(text)) == text


def cell(chance: random.Random, form: str) -> str:
    if form == "mixed":
        form = chance.choice(["four", "any", "float", "milliseconds", "eight"])
    return {
        "four": lambda: str(chance.randrange(1000, 10_000)),
        "any": lambda: str(chance.randrange(10 ** chance.randrange(1, 10))),
        "float": lambda: f"{chance.uniform(-1000, 1000):.{chance.randrange(1, 8)}f}",
        "milliseconds": lambda: str(1_700_000_000_000 + chance.randrange(10**9)),
        "eight": lambda: str(chance.randrange(10**7, 10**8)),
    }[form]()


@pytest.mark.parametrize(
    ("form", "columns", "separator"),
    [("four", 6, ","), ("four", 1, ","), ("four", 4, "\t"), ("four", 2, "\t"), ("four", 4, "; "), ("eight", 1, ","), ("eight", 2, ","), ("any", 5, "\t"), ("mixed", 6, ",")],
)  # fmt: skip
def test_a_megabyte_of_numbers_in_a_table_stays(form: str, columns: int, separator: str) -> None:
    chance = random.Random(f"{form}{columns}{separator}")
    rows, size = [separator.join("abcdef"[:columns])], 0
    while size < 1_000_000:
        rows.append(separator.join(cell(chance, form) for _ in range(columns)))
        size += len(rows[-1]) + 1
    report = Report()
    text = "\n".join(rows)
    assert mask_text(ALL, text, report) == text and report.fields() == []


@pytest.mark.parametrize("form", ["four", "any", "eight", "mixed"])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_megabyte_of_numbers_in_json_stays(form: str, indent: int | None) -> None:
    chance = random.Random(form)
    rows = [[json.loads(cell(chance, form)) for _ in range(6)] for _ in range(30_000)]
    body = json.dumps(rows, indent=indent).encode()
    body = body[: body.rfind(b"]", 0, 1_000_000) + 1].rstrip(b"]") + b"]]"
    assert len(body) > 900_000
    assert mask_json(ALL, body, parse(body), Report()) is body


# Texts that must not change.

UNUSUAL = [
    "👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 ❤️ 👍🏽 🇩🇪🇫🇷 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣ 2️⃣ 3️⃣ #️⃣", "می‌خواهم کتاب‌ها را در ۱۴۰۳/۰۲/۱۲ بخوانم", "क्‍ष क्‌ष में १२ किताबें, २०२४ में", "\u200fשָׁלוֹם\u200f, 12 \u2067עברית\u2069 ו-3",
    "\u061cالسعر ١٢٣٫٥٠ ريال\u200f في عام ٢٠٢٤", "ราคา ๑๒๓ บาท ปี ๒๕๖๗ ครับ", "한국어 24개, 2024년", "２０２４年１２月３１日（火）、約１，２３４円です。", "卡（示例）：共１２个，详见第３章。",
    "x² + y³ = 10⁴ m·s⁻², H₂O, CO₂ at 25 °C, ½ cup, 3¾ in", "① first ② second ③ third ❶ ❷ ⑴ ⒈", "𝟙 𝐀 𝒇(𝑥) = ∑ 𝑥ᵢ", "2019–2020, pp. 12–15, 3—4, −5 °C, 10 km, 1 234 567 890 €", "“word”—‘word’… don’t; naïve, cafe\u0301, Zu\u0308rich",
    "AT&T &amp; R&amp;D &lt;b&gt; &copy; 2024 &nbsp; 5&nbsp;km &mdash; &frac12; &#39;x&#39;", "https://example.org/a%20b?x=1&copy=2&lang=de%2Den", "C:\\new_folder\\x \\d+\\.\\d* $x\\_1$ \\alpha\\@b", "Donau\u00addampf\u00adschiff soft\u00adware 12\u00ad34",
    "ISBN 978‑3‑16‑148410‑0, version 10.0.19041․1", "4111\u200b1111\u200b1111\u200b1112", "order 4539\u202f1488\u202f0343\u202f6468", "a\tb\tc\n1\t2\t3\n4\t5\t6", "<b>12</b><br>34<!-- x -->", "\ufeffid;name\n1;x", "１：２：３", "ﬁne ﬂow", "e\u0301\u0323 \u0e01\u0e33",
]  # fmt: skip


@pytest.mark.parametrize("text", UNUSUAL)
def test_unusual_text_keeps_its_bytes(text: str) -> None:
    assert mask_text(ALL, text, Report()) == text
    assert in_json(text, ascii_only=False) == in_json(text, ascii_only=True) == text
    assert told(list(text)) == text


@pytest.mark.parametrize("zero", ["٠", "०", "０", "𝟎"])
def test_digits_of_other_scripts_are_no_more_than_those_of_ascii(zero: str) -> None:
    """The same values are found in samples with and without values."""
    table = {ord(str(i)): chr(ord(zero) + i) for i in range(10)}
    for sample in samples(seed=7, count=250):
        for _, key, text in leaves(sample.document):
            other = text.translate(table)
            if other != text and not any(c in text for c in "\\&%"):
                kinds = [(s.kind, s.start, s.end) for s in DETECTORS.find(text, key)]
                assert {(s.kind, s.start, s.end) for s in DETECTORS.find(other, key)} <= set(kinds), other
