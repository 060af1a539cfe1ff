"""What policy sees of an exchange: the facts that rules need, and the facts that the record may hold."""

from datetime import datetime
from typing import Any
from urllib.parse import unquote

from weir.base.content import ContentError, leaf_texts
from weir.base.secret import Scrubber
from weir.path.exchange import (
    Answered,
    Arrived,
    Body,
    Exchange,
    Head,
    Identified,
    Judged,
    JudgedAnswer,
    Matched,
    Read,
    Routed,
)
from weir.policy import facts, trace
from weir.policy.facts import ABSENT, ANSWER_TEXTS, NODES, OF_CALL, TEXTS, WEEKDAYS, Facts
from weir.policy.model import TraceLine
from weir.policy.rules import Rules
from weir.profiles.model import Ranking
from weir.profiles.profile import HANDSHAKE_READING, UNKNOWN_ANSWER, UNKNOWN_READING
from weir.profiles.texts import Texts, Unreadable

_HIDDEN = "***"


def request_facts(exchange: Exchange, needs: frozenset[str]) -> Facts:
    """Return the facts of a request; costly facts only if a rule *needs* them. Raises `ContentError`."""
    arrived, routed, read = exchange[Arrived], exchange[Routed], exchange[Read]
    principal = exchange[Identified].principal
    moment = datetime.fromtimestamp(exchange.received, arrived.policies.timezone)
    found = facts.of_call(read.call)
    found.update(
        user=principal.sub,
        groups=sorted(principal.groups),
        issuer=principal.issuer,
        connection=routed.connection.name,
        client_ip=arrived.client_ip,
        method=arrived.method,
        path=routed.path,
        hour=moment.hour,
        weekday=WEEKDAYS[moment.weekday()],
        bytes=len(exchange[Body].decoded),
        body=read.document if read.parsed else ABSENT,
    )
    if "document_text" in needs:
        found["document_text"] = _document_texts(exchange, read.document)
    if TEXTS in needs or "text" in needs:
        found.update(facts.of_texts(read_texts(exchange, read.document)))
        if TEXTS in routed.connection.response_rules.needs:  # an unreadable text is refused before the request is sent
            for name in facts.OF_TEXTS:
                if isinstance(found[name], Unreadable):
                    raise ContentError(found[name].reason)
        if "text" in needs:
            every = facts.all_text(found)
            if isinstance(every, Unreadable):
                raise ContentError(every.reason)
            found["text"] = every or ABSENT
    return found


def read_texts(exchange: Exchange, body: Any, *, places: bool = False) -> Texts:
    """Return all texts of a request with the parsed *body*. Read the path too if the operation is unknown.

    With *places*, each text has its place, and *body* comes from `locate`.
    """
    matched, routed = exchange[Matched], exchange[Routed]
    if matched.operation is not None:
        return matched.operation.reading.read(body, routed.query, matched.variables, places=places)
    if exchange[Head].handshake is not None:
        return HANDSHAKE_READING.read(None, routed.query, {}, places=places)
    return UNKNOWN_READING.read(body, routed.query, {}, unquote(routed.path), places=places)


def readable(exchange: Exchange, rules: Rules, ranking: Ranking, answered: Answered) -> bool:
    """True if *rules* can judge the answer: all facts that they need exist and can be read."""
    if not 200 <= answered.status < 300:
        return True
    if exchange[Arrived].method == "HEAD" or (answered.status in (204, 205) and not exchange.received_bytes):
        return True
    operation = exchange[Matched].operation
    if operation is not None and operation.answer.results:
        return ranking.readable and answered.document is not None
    unasked = rules.needs.isdisjoint(("body", "result_text", ANSWER_TEXTS))
    return answered.document is not None or not exchange.received_bytes or unasked


def response_facts(exchange: Exchange, rules: Rules, ranking: Ranking, answered: Answered) -> Facts:
    """Return the facts of an answer that *rules* need. An error answer has few facts."""
    operation, document = exchange[Matched].operation, answered.document
    found: Facts = dict.fromkeys(facts.OF_RESPONSE, ABSENT)
    found["status"] = answered.status
    found["body"] = ABSENT if document is None else document
    found[NODES] = None  # these belonged to the request's body
    if 200 <= answered.status < 300:
        if operation is not None and operation.answer.results:
            found.update(facts.of_ranking(ranking, exchange[Read].call))
        found["tokens"] = ABSENT if exchange.tokens is None else exchange.tokens
        if "result_text" in rules.needs and document is not None:
            if operation is not None and operation.answer.results:
                found["result_text"] = operation.answer.texts(ranking, document)
            else:
                found["result_text"] = leaf_texts(document)
        if ANSWER_TEXTS in rules.needs and document is not None:
            answer = UNKNOWN_ANSWER if operation is None else operation.answer
            found.update(facts.of_answer_texts(answer.read_texts(document)))
    return found


def request_trace(exchange: Exchange, scrub: Scrubber) -> tuple[TraceLine, ...]:
    """Return what each clause of the rules saw in the request, masked as the record's copy."""
    judged, copies = exchange.get(Judged), exchange.copies
    if judged is None:
        return ()
    shown = judged.facts
    if judged.clauses and copies.request_masked:
        read = exchange[Read]
        shown = shown | _masked_call(exchange, read)
        shown = shown | {"path": _HIDDEN if copies.target_masked else exchange[Routed].path}
        if read.parsed:
            shown = shown | {"body": read.document}
    return trace.lines(judged.clauses, shown, scrub)


def response_trace(exchange: Exchange, scrub: Scrubber) -> tuple[TraceLine, ...]:
    """Return what each clause of the rules saw in the answer. If the connection has masks, hide its texts."""
    judged = exchange.get(JudgedAnswer)
    if judged is None:
        return ()
    shown = judged.facts
    if exchange[Routed].connection.masks:
        shown = shown | {"body": _HIDDEN, "result_text": _HIDDEN} | dict.fromkeys(facts.OF_ANSWER_TEXTS, _HIDDEN)
        if exchange.copies.request_masked:
            shown = shown | dict.fromkeys((*OF_CALL, *facts.OF_TEXTS), _HIDDEN)
    return trace.lines(judged.clauses, shown, scrub)


def _masked_call(exchange: Exchange, read: Read) -> Facts:
    """Return the facts of the masked body. Hide each fact that the masked body does not contain any more."""
    matched, routed = exchange[Matched], exchange[Routed]
    hidden = dict.fromkeys(facts.OF_TEXTS, _HIDDEN) | {"text": _HIDDEN}
    operation = matched.operation
    if operation is None:
        return hidden | {"document_text": _HIDDEN}
    try:
        call = operation.read_call(read.document, matched.parameters, matched.variables)
        texts = operation.texts(read.document, call.documents)
    except ContentError:
        return hidden | dict.fromkeys(OF_CALL, _HIDDEN) | {"operation": operation.name}
    # If a mask has changed the target, none of its texts are shown.
    query, variables = ("", {}) if exchange.copies.target_masked else (routed.query, matched.variables)
    seen = facts.of_texts(operation.reading.read(read.document, query, variables))
    return facts.of_call(call) | {"document_text": texts, "text": facts.all_text(seen)} | seen


def _document_texts(exchange: Exchange, body: Any) -> Any:
    """Return the texts of the request's documents; for an unknown operation, all texts of its body."""
    operation, read = exchange[Matched].operation, exchange[Read]
    if operation is None:
        return leaf_texts(body) if read.parsed else ABSENT
    return ABSENT if read.call.documents is None else operation.texts(body, read.call.documents)
