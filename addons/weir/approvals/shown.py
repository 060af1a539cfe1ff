"""The view of a request or a response for reviewers: masked like the record, inert, and shortened. Pure."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from weir.approvals.model import Ranked, Shown
from weir.base.content import encode
from weir.base.text import inert
from weir.profiles.model import WRITES, Call, Ranking

LONGEST_TEXT = 1000
LONGEST_BODY = 64_000
LONGEST_REST = 8000
MOST_DOCUMENTS = 5
MOST_RESULTS = 50
MOST_NAMES = 20

#: Removes secrets from bytes.
Scrub = Callable[[bytes], bytes]


class _Cutter:
    """Makes texts inert, and notes the texts that it shortens."""

    def __init__(self, scrub: Scrub) -> None:
        self._scrub = scrub
        self.cut: list[str] = []

    def text(self, name: str, text: str, longest: int = LONGEST_TEXT) -> str:
        # Cut before processing, since it can be as long as a body; with a margin, so that no half of a secret remains.
        scrubbed = self._scrub(text[: longest * 2 + 20_000].encode("utf-8", "replace")).decode("utf-8", "replace")
        shown = inert(scrubbed[:longest])
        if max(len(text), len(scrubbed), len(shown)) > longest:
            shown = shown[:longest]
            self.cut.append(f"{name}: the first {len(shown)} of {max(len(text), len(scrubbed))} characters")
            return f"{shown}…"
        return shown

    def several(self, name: str, values: Sequence[Any], most: int, longest: int = LONGEST_TEXT) -> tuple[str, ...]:
        if len(values) > most:
            self.cut.append(f"{name}: the first {most} of {len(values)}")
        return tuple(self.text(f"{name} {n}", _as_text(v), longest) for n, v in enumerate(values[:most], 1))


def shown_request(
    method: str, path: str, parameters: str, call: Call, body: Any, elsewhere: Collection[str], scrub: Scrub
) -> Shown:
    """Return the view of a request; *call* and *body* are masked. *elsewhere* are body members that *call* shows whole.

    Every part of the body is shown, or listed as shortened.
    """
    cutter = _Cutter(scrub)
    found = call.documents
    rest = body
    if isinstance(body, dict) and call.operation not in WRITES:
        rest = {
            name: value
            for name, value in body.items()
            if name not in elsewhere or not (isinstance(value, list) or value in call.query)
        } or None
    longest = LONGEST_BODY if call.operation in WRITES else LONGEST_REST
    return Shown(
        operation=call.operation,
        method=method,
        path=cutter.text("path", path),
        parameters=cutter.text("parameters", parameters),
        query=cutter.several("query", call.query, 3),
        documents=None if found is None else len(found),
        first_documents=() if found is None else cutter.several("documents", found, MOST_DOCUMENTS),
        indexes=cutter.several("indexes", call.indexes, MOST_NAMES, 200),
        model=None if call.model is None else cutter.text("model", call.model, 200),
        top_n=call.top_n,
        body="" if rest is None else cutter.text("body", _as_text(rest), longest),
        cut=tuple(cutter.cut),
    )


def shown_response(
    request: Shown,
    status: int,
    ranking: Ranking,
    texts: Callable[[Any, int | None], Iterable[str]],
    document: Any,
    scrub: Scrub,
) -> Shown:
    """Return the view of a response to *request*, masked: its ranking or its body. *texts* returns a result's texts."""
    cutter = _Cutter(scrub)
    ranked = tuple(
        Ranked(
            rank,
            result.index,
            result.score,
            cutter.text(f"result {rank}", " ".join(texts(entry, result.index)), 300),
        )
        for rank, (result, entry) in enumerate(
            zip(ranking.results[:MOST_RESULTS], ranking.entries[:MOST_RESULTS], strict=False), 1
        )
    )
    if len(ranking.results) > MOST_RESULTS:
        cutter.cut.append(f"results: the first {MOST_RESULTS} of {len(ranking.results)}")
    response = "" if ranked or document is None else cutter.text("response", _as_text(document), 4000)
    return replace(
        request,
        status=status,
        ranking=ranked,
        results=len(ranking.results) if ranking.results else None,
        response=response,
        cut=(*request.cut, *cutter.cut),
    )


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode("utf-8", "replace")
