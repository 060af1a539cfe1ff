"""Facts: what rules can ask of a request or a response, and what kind of value each has. Pure."""

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

#: Facts by name; a value, or ABSENT.
Facts = dict[str, Any]

#: Of who asks, and of the request's head.
OF_CALLER: dict[str, Kind] = {
    "user": "text", "groups": "list", "issuer": "text", "connection": "text", "client_ip": "text",
    "method": "text", "path": "text", "hour": "number", "weekday": "text", "bytes": "number",
}  # fmt: skip
#: Of what a profile reads in a request.
OF_CALL: dict[str, Kind] = {
    "operation": "text", "index": "list", "model": "text", "query": "texts", "documents": "number",
    "document_text": "texts", "text": "texts", "top_n": "number", "breadth": "number", "max_tokens": "number",
    "return_documents": "boolean", "stream": "boolean",
}  # fmt: skip
#: Of what a profile reads in a response.
OF_RESPONSE: dict[str, Kind] = {
    "status": "number", "results": "number", "top_score": "number", "bottom_score": "number", "rank_changes": "number",
    "invalid_results": "number", "unordered_results": "number", "largest_share": "number", "result_text": "texts",
    "tokens": "number",
}  # fmt: skip
REQUEST_FACTS: dict[str, Kind] = {**OF_CALLER, **OF_CALL}
RESPONSE_FACTS: dict[str, Kind] = {**REQUEST_FACTS, **OF_RESPONSE}

#: Not a fact: where the descendants of ``body`` are kept, once a rule has asked for them.
NODES = "nodes of the body"

#: Not facts: what conditions look for texts in, which is read where a condition needs `TEXTS` or `ANSWER_TEXTS`. A
#: text that no path of the profile selects could be anything, so conditions on the query, the documents or the results
#: look there too.
TEXTS, ANSWER_TEXTS = "all texts of the request", "all texts of the answer"
QUERY_TEXT, DOCUMENT_TEXT, OTHER_TEXT = "text of the query", "text of the documents", "text elsewhere in the request"
QUERY_NAMES, DOCUMENT_NAMES = "identifiers in the query", "identifiers in the documents"
RESULT_TEXT, OTHER_ANSWER_TEXT = "text of the results", "text elsewhere in the answer"
RESULT_NAMES = "identifiers in the results"
#: What a condition that holds where a text is found looks through, by its fact. Identifiers in the query are a part of
#: the query, and no text.
LOOKED_THROUGH: dict[str, tuple[str, ...]] = {
    "query": (QUERY_TEXT, QUERY_NAMES, OTHER_TEXT),
    "document_text": (DOCUMENT_TEXT, DOCUMENT_NAMES, OTHER_TEXT),
    "text": (QUERY_TEXT, DOCUMENT_TEXT, OTHER_TEXT),
    "result_text": (RESULT_TEXT, RESULT_NAMES, OTHER_ANSWER_TEXT),
    "category": (RESULT_TEXT, OTHER_ANSWER_TEXT),  # of an answer; of a request, it looks through `text`
}
#: Used instead of these where `of_texts` was not called: in facts that were written by hand.
INSTEAD = {QUERY_TEXT: "query", DOCUMENT_TEXT: "document_text", RESULT_TEXT: "result_text"}
#: All of them, of a request and of an answer.
OF_TEXTS = (QUERY_TEXT, DOCUMENT_TEXT, OTHER_TEXT, QUERY_NAMES, DOCUMENT_NAMES)
OF_ANSWER_TEXTS = (RESULT_TEXT, OTHER_ANSWER_TEXT, RESULT_NAMES)

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def of_call(call: Call) -> Facts:
    """The facts of *call* but for the texts of its documents, which only few rules ask for."""
    return {
        "operation": call.operation,
        "index": list(call.indexes) or ABSENT,
        "model": _present(call.model),
        "query": list(call.query) or ABSENT,
        "documents": ABSENT if call.documents is None else len(call.documents),
        "top_n": _present(call.top_n),
        "breadth": _present(call.breadth),
        "max_tokens": _present(call.max_tokens),
        "return_documents": _present(call.return_documents),
        "stream": _present(call.stream),
    }


def of_texts(texts: Texts) -> Facts:
    """Where conditions look for texts in a request."""
    return {
        QUERY_TEXT: texts.texts[QUERY],
        DOCUMENT_TEXT: texts.texts[DOCUMENTS],
        OTHER_TEXT: texts.texts[OTHER],
        QUERY_NAMES: texts.names[QUERY],
        DOCUMENT_NAMES: texts.names[DOCUMENTS],
    }


def of_answer_texts(texts: Texts) -> Facts:
    """Where conditions look for texts in a response."""
    return {
        RESULT_TEXT: texts.texts[RESULTS],
        RESULT_NAMES: texts.names[RESULTS],
        OTHER_ANSWER_TEXT: texts.texts[OTHER],
    }


def all_text(found: Facts) -> list[str] | Unreadable:
    """The fact ``text``, from what `of_texts` gave."""
    every: list[str] = []
    for name in LOOKED_THROUGH["text"]:
        part = found[name]
        if isinstance(part, Unreadable):
            return part
        every += part
    return every


def of_ranking(ranking: Ranking, call: Call) -> Facts:
    """What *ranking* says, as the answer to *call*.

    ``invalid_results`` counts those whose position is not one of the request's documents or came before, whose
    score is missing, and those beyond ``top_n``. ``unordered_results`` counts those with a better score than the
    one before. ``rank_changes`` counts those that stand elsewhere than in the request. ``largest_share`` is the
    share (0 to 1) of the results that come from one source, of those whose source is known.
    """
    results = ranking.results
    positions = [r.index for r in results if r.index is not None]
    scores = [r.score for r in results if r.score is not None]
    # Scores of pairs can be more than there are documents: one for each text that is asked.
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
