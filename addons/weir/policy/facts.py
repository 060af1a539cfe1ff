"""Facts: the values that rules can test in a request or a response, and their kinds. Pure."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any, Final, Literal

from weir.profiles.model import Call, Ranking
from weir.profiles.texts import DOCUMENTS, OTHER, QUERY, RESULTS, Texts, Unreadable

Kind = Literal["text", "texts", "list", "number", "boolean"]


class _Absent:
    """The value of a fact that a request does not have. Only ``exists: false`` matches it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()

#: Facts by name: a value, or ABSENT.
Facts = dict[str, Any]

#: Facts about the caller, and about the head of the request.
OF_CALLER: dict[str, Kind] = {
    "user": "text", "groups": "list", "issuer": "text", "connection": "text", "client_ip": "text",
    "method": "text", "path": "text", "hour": "number", "weekday": "text", "bytes": "number",
}  # fmt: skip
#: Facts that a profile reads from a request.
OF_CALL: dict[str, Kind] = {
    "operation": "text", "index": "list", "model": "text", "query": "texts", "documents": "number",
    "document_text": "texts", "text": "texts", "top_n": "number", "breadth": "number", "max_tokens": "number",
    "completions": "number", "max_output_tokens": "number", "return_documents": "boolean", "stream": "boolean",
}  # fmt: skip
#: Facts that a profile reads from a response.
OF_RESPONSE: dict[str, Kind] = {
    "status": "number", "results": "number", "top_score": "number", "bottom_score": "number", "rank_changes": "number",
    "invalid_results": "number", "unordered_results": "number", "largest_share": "number", "result_text": "texts",
    "tokens": "number",
}  # fmt: skip
REQUEST_FACTS: dict[str, Kind] = {**OF_CALLER, **OF_CALL}
RESPONSE_FACTS: dict[str, Kind] = {**REQUEST_FACTS, **OF_RESPONSE}

#: Not a fact: the key of the descendants of ``body``, stored when a rule first needs them.
NODES = "nodes of the body"

#: Not facts: the keys of texts that conditions search. They are read if a condition needs `TEXTS` or `ANSWER_TEXTS`.
#: A text that no path of the profile selects could have any role, so conditions on the query, the documents or the
#: results search it too.
TEXTS, ANSWER_TEXTS = "all texts of the request", "all texts of the answer"
QUERY_TEXT, DOCUMENT_TEXT, OTHER_TEXT = "text of the query", "text of the documents", "text elsewhere in the request"
QUERY_NAMES, DOCUMENT_NAMES = "identifiers in the query", "identifiers in the documents"
RESULT_TEXT, OTHER_ANSWER_TEXT = "text of the results", "text elsewhere in the answer"
RESULT_NAMES = "identifiers in the results"
#: The texts searched by a condition that is true if a text is found, by its fact. Identifiers in the query are part of
#: the query, but not text.
LOOKED_THROUGH: dict[str, tuple[str, ...]] = {
    "query": (QUERY_TEXT, QUERY_NAMES, OTHER_TEXT),
    "document_text": (DOCUMENT_TEXT, DOCUMENT_NAMES, OTHER_TEXT),
    "text": (QUERY_TEXT, DOCUMENT_TEXT, OTHER_TEXT),
    "result_text": (RESULT_TEXT, RESULT_NAMES, OTHER_ANSWER_TEXT),
    "category": (RESULT_TEXT, OTHER_ANSWER_TEXT),  # of a response; in a request, it searches `text`
}
#: Used instead if `of_texts` was not called, as in handwritten facts.
INSTEAD = {QUERY_TEXT: "query", DOCUMENT_TEXT: "document_text", RESULT_TEXT: "result_text"}
#: All of these keys, for a request and for a response.
OF_TEXTS = (QUERY_TEXT, DOCUMENT_TEXT, OTHER_TEXT, QUERY_NAMES, DOCUMENT_NAMES)
OF_ANSWER_TEXTS = (RESULT_TEXT, OTHER_ANSWER_TEXT, RESULT_NAMES)

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def of_call(call: Call) -> Facts:
    """Return the facts of *call*, without the texts of its documents, which only few rules need."""
    return {
        "operation": call.operation,
        "index": list(call.indexes) or ABSENT,
        "model": _present(call.model),
        "query": list(call.query) or ABSENT,
        "documents": ABSENT if call.documents is None else len(call.documents),
        "top_n": _present(call.top_n),
        "breadth": _present(call.breadth),
        "max_tokens": _present(call.max_tokens),
        "completions": _present(call.completions),
        "max_output_tokens": _present(call.max_output_tokens),
        "return_documents": _present(call.return_documents),
        "stream": _present(call.stream),
    }


def of_texts(texts: Texts) -> Facts:
    """Return the texts of a request that conditions search."""
    return {
        QUERY_TEXT: texts.texts[QUERY],
        DOCUMENT_TEXT: texts.texts[DOCUMENTS],
        OTHER_TEXT: texts.texts[OTHER],
        QUERY_NAMES: texts.names[QUERY],
        DOCUMENT_NAMES: texts.names[DOCUMENTS],
    }


def of_answer_texts(texts: Texts) -> Facts:
    """Return the texts of a response that conditions search."""
    return {
        RESULT_TEXT: texts.texts[RESULTS],
        RESULT_NAMES: texts.names[RESULTS],
        OTHER_ANSWER_TEXT: texts.texts[OTHER],
    }


def all_text(found: Facts) -> list[str] | Unreadable:
    """Return the fact ``text``, given the result of `of_texts`."""
    every: list[str] = []
    for name in LOOKED_THROUGH["text"]:
        part = found[name]
        if isinstance(part, Unreadable):
            return part
        every += part
    return every


def of_ranking(ranking: Ranking, call: Call) -> Facts:
    """Return the facts of *ranking*, the response to *call*.

    ``invalid_results`` counts results with a position outside the request's documents, a repeated position, or a
    missing score, and those beyond ``top_n``. ``unordered_results`` counts results with a better score than the one
    before. ``rank_changes`` counts results whose position differs from the request. ``largest_share`` is the largest
    share (0 to 1) of results from one source, among the results with a known source.
    """
    results = ranking.results
    positions = [r.index for r in results if r.index is not None]
    scores = [r.score for r in results if r.score is not None]
    # Scores of pairs can outnumber the documents: there is one for each query text.
    documents = len(call.documents) if call.documents is not None and call.operation != "score" else None
    out_of_range = sum(not 0 <= i < (math.inf if documents is None else documents) for i in positions)
    beyond = max(0, len(results) - call.top_n) if call.top_n is not None and call.operation != "chat" else 0
    unscored = len(results) - len(scores) if scores else 0
    sources = [source for source in ranking.sources if source is not None]
    return {
        "results": len(results),
        "top_score": max(scores) if scores else ABSENT,
        "bottom_score": min(scores) if scores else ABSENT,
        "rank_changes": sum(i != rank for rank, i in enumerate(positions)) if positions else ABSENT,
        "invalid_results": out_of_range + len(positions) - len(set(positions)) + beyond + unscored,
        "unordered_results": sum(b > a for a, b in pairwise(scores)),
        "largest_share": max(Counter(sources).values()) / len(sources) if sources else ABSENT,
    }


def _present(value: Any) -> Any:
    return ABSENT if value is None else value
