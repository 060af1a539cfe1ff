"""Places of the texts that conditions search, for `weir explain`. Found by the same walk as on the data path."""

from collections.abc import Iterator
from dataclasses import dataclass

from weir.base.text import inert
from weir.path.exchange import Matched, Read
from weir.path.observed import read_texts
from weir.policy import facts
from weir.policy.conditions import Clause
from weir.policy.facts import ABSENT, ANSWER_TEXTS, TEXTS, Facts
from weir.profiles.encoded import Located
from weir.profiles.profile import UNKNOWN_ANSWER
from weir.profiles.texts import locate
from weir.rehearsal.rehearse import Outcome

#: Characters of the text that are shown before and after a match.
AROUND = 40


@dataclass(frozen=True, slots=True)
class Found:
    """A text that a clause matched, cut around the match. Its place is a JSONPath of the body, or a part of the URL."""

    place: str
    read: str  # how the text was decoded; empty if it was not encoded
    text: str


class Places:
    """The texts of a judged request and of its answer, with their places."""

    def __init__(self, outcome: Outcome) -> None:
        self._texts: Facts = {}
        exchange, connection = outcome.exchange, outcome.connection
        matched, read = exchange.get(Matched), exchange.get(Read)
        if matched is None or read is None:
            return
        rules = connection.rules.needs | connection.response_rules.needs
        if rules & {TEXTS, "text"}:
            body = locate(read.document) if read.parsed else None
            self._texts.update(facts.of_texts(read_texts(exchange, body, places=True)))
        answer = outcome.facts.get("body", ABSENT) if "status" in outcome.facts else ABSENT
        if ANSWER_TEXTS in rules and answer is not ABSENT:
            operation = UNKNOWN_ANSWER if matched.operation is None else matched.operation.answer
            self._texts.update(facts.of_answer_texts(operation.read_texts(locate(answer))))

    def read(self, clause: Clause) -> list[str]:
        """Return the places of the texts that *clause* searches, each once."""
        return list(dict.fromkeys(_place(text) for text in self._of(clause)))

    def found(self, clause: Clause) -> list[Found]:
        """Return the matches of *clause*, one for each place: in the text as written, or else in its decoded text."""
        found: dict[str, Found] = {}
        for text in self._of(clause) if clause.finds is not None else ():
            assert clause.finds is not None
            plain = str(text)
            span = clause.finds(plain)
            if span is not None:
                how = text.how if isinstance(text, Located) else ""
                found.setdefault(_place(text), Found(_place(text), how, _cut(plain, *span)))
        return list(found.values())

    def _of(self, clause: Clause) -> Iterator[str]:
        for name in clause.looks:
            texts = self._texts.get(name)
            if isinstance(texts, list):
                yield from texts


def _place(text: str) -> str:
    return inert(text.place) if isinstance(text, Located) else "?"


def _cut(text: str, begin: int, end: int) -> str:
    first, last = max(0, begin - AROUND), min(len(text), end + AROUND, begin + 4 * AROUND)
    return f"{'…' if first else ''}{inert(text[first:last])}{'…' if last < len(text) else ''}"
