"""Telephone numbers in English sentences that the detector was not made for: recall and precision."""

import random
import re
import string
from typing import Any

import pytest
from faker import Faker
from tests.corpora import corpus
from tests.masking.quality import DETECTORS

GROUPS: dict[str, dict[str, list[str]]] = corpus("phones")
LOCALES = ("en_US", "en_US", "en_GB", "en_AU", "en_NZ", "en_IN", "en_CA", "en_IE", "de_DE", "fr_FR")
ROUNDS = 20


class Made:
    """Fills templates with made-up numbers, from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._people = [Faker(locale) for locale in LOCALES]
        for number, person in enumerate(self._people):
            person.seed_instance(seed + number)

    def digits(self, count: int) -> str:
        return self._random.choice("123456789") + "".join(self._random.choices(string.digits, k=count - 1))

    def phone(self) -> str:
        """Return a number without telling form in half of the cases: 9747 6578, 5403926876, 555-1234."""
        forms = [
            lambda: f"{self._random.choice('3689')}{self.digits(3)} {self.digits(4)}",
            lambda: self._random.choice("23456789") + self.digits(9),
            lambda: f"{self.digits(3)}-{self.digits(4)}",
            lambda: self._random.choice("689") + self.digits(7),
        ]
        if self._random.random() < 0.5:
            return self._random.choices(forms, (5, 3, 1, 1))[0]()
        return str(self._random.choice(self._people).phone_number())

    def other(self, name: str) -> str:
        pick = self._random.choice
        if name[0] == "d":
            return self.digits(int(name[1:]))
        return {
            "v": f"{self.digits(1)}.{self.digits(2)}.{self.digits(4)}",
            "m": f"{pick(['$', '€', ''])}{self.digits(2)},{self.digits(3)}.{self.digits(2)}",
            "n": pick([self.digits(7), f"{self.digits(2)},{self.digits(3)},{self.digits(3)}"]),
            "t": pick(["2024-03-17", "17/03/2024", "03-17-2024", "17.03.2024", "20240317", "17 03 2024"]),
        }[name]

    def text(self, template: str) -> tuple[str, list[tuple[int, int]]]:
        """Return the filled *template* and the places of its telephone numbers."""
        text, places = "", []
        for part in re.split(r"(\{[a-z]\d*\})", template):
            if part.startswith("{p"):
                number = self.phone()
                places.append((len(text), len(text) + len(number)))
                text += number
            else:
                text += self.other(part[1:-1]) if part.startswith("{") and part.endswith("}") else part
        return text, places


def quality(groups: list[str]) -> tuple[float, float, list[Any]]:
    """Return recall, precision and what is wrong."""
    made, found, missed, false, wrong = Made(7), 0, 0, 0, []
    templates = [t for group in groups for kind in ("with", "without") for t in GROUPS[group][kind]]
    for text, places in (made.text(t) for t in templates for _ in range(ROUNDS)):
        spans = [(s.start, s.end) for s in DETECTORS.find(text) if s.kind == "phone"]
        hits = [p for p in places if any(a < p[1] and p[0] < b for a, b in spans)]
        extra = [s for s in spans if not any(s[0] < b and a < s[1] for a, b in places)]
        found, missed, false = found + len(hits), missed + len(places) - len(hits), false + len(extra)
        wrong += [text] if extra or len(hits) < len(places) else []
    return found / (found + missed), found / (found + false), wrong


def test_sentences_written_after_the_detector() -> None:
    recall, precision, wrong = quality(["first", "second", "third", "fourth"])
    assert recall >= 0.95 and precision >= 0.99, (recall, precision, wrong[:40])


def test_no_number_is_taken_for_a_telephone_number_without_reason() -> None:
    _, precision, wrong = quality(["tuned"])
    assert precision >= 0.99, wrong


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("They're not answering at 9747 6578", "9747 6578"),
        ("Desk: 5403926876", "5403926876"),
        ("WhatsApp me: 9386 7411", "9386 7411"),
        ("T 9711 1389 | F 9711 1390", "9711 1389"),
        ("this is Karen Jones, 5403926876", "5403926876"),
    ],
)
def test_words_directly_before(text: str, number: str) -> None:
    assert number in [text[s.start : s.end] for s in DETECTORS.find(text) if s.kind == "phone"]


@pytest.mark.parametrize(
    "text",
    [
        "call foo(5551234567)", "call foo(a, 5551234567)", "getPhone(5403926876)", "tracking number 534940324236", "valued at 12345678",
        "row 8 at line 54039268", "mobile subscribers: 3906134", "a = b * 69069 + 907133923 x 5 + 907133923", "phone firmware 17.40.2932",
    ],
)  # fmt: skip
def test_other_numbers_stay(text: str) -> None:
    assert [text[s.start : s.end] for s in DETECTORS.find(text) if s.kind == "phone"] == []
