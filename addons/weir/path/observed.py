"""What policy sees of an exchange: the facts that its rules ask for, and what of them the record may hold."""

from datetime import datetime
from typing import Any
from urllib.parse import unquote

from weir.base.content import ContentError, leaf_texts
from weir.base.secret import Scrubber
from weir.path.exchange import Exchange
from weir.policy import facts, trace
from weir.policy.facts import ABSENT, ANSWER_TEXTS, NODES, OF_CALL, TEXTS, WEEKDAYS, Facts
from weir.policy.model import TraceLine
from weir.policy.rules import Rules
from weir.profiles.model import Ranking
from weir.profiles.profile import HANDSHAKE_READING, UNKNOWN_ANSWER, UNKNOWN_READING
from weir.profiles.texts import Texts, Unreadable

_HIDDEN = "***"


def request_facts(exchange: Exchange, needs: frozenset[str]) -> Facts:
    """The facts of a request; those that cost something only where a rule *needs* them."""
    connection, principal, policies = exchange.connection, exchange.principal, exchange.policies
    assert connection is not None and principal is not None and policies is not None
    moment = datetime.fromtimestamp(exchange.received, policies.timezone)
    found = facts.of_call(exchange.call)
    found.update(
        user=principal.sub,
        groups=sorted(principal.groups),
        issuer=principal.issuer,
        connection=connection.name,
        client_ip=exchange.client_ip,
        method=exchange.method,
        path=exchange.path,
        hour=moment.hour,
        weekday=WEEKDAYS[moment.weekday()],
        bytes=len(exchange.caller_body),
        body=exchange.body if exchange.parsed else ABSENT,
    )
    if "document_text" in needs:
        found["document_text"] = _document_texts(exchange, exchange.body)
    if TEXTS in needs or "text" in needs:
        found.update(facts.of_texts(read_texts(exchange, exchange.body)))
        if TEXTS in connection.response_rules.needs:  # refuse before it is sent
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
    """Every text of a request with the parsed *body*. The path is read too if the operation is not known.

    *places*: each text knows its place. *body* then comes from `locate`.
    """
    if exchange.operation is not None:
        return exchange.operation.reading.read(body, exchange.query, exchange.variables, places=places)
    if exchange.handshake is not None:
        return HANDSHAKE_READING.read(None, exchange.query, {}, places=places)
    return UNKNOWN_READING.read(body, exchange.query, {}, unquote(exchange.path), places=places)


def readable(exchange: Exchange, rules: Rules, ranking: Ranking, document: Any) -> bool:
    """Whether *rules* can be asked about the response: what should be there, can be read."""
    if not 200 <= exchange.upstream_status < 300:
        return True
    if exchange.method == "HEAD" or (exchange.upstream_status in (204, 205) and not exchange.received_bytes):
        return True
    if exchange.operation is not None and exchange.operation.answer.results:
        return ranking.readable and document is not None
    unasked = rules.needs.isdisjoint(("body", "result_text", ANSWER_TEXTS))
    return document is not None or not exchange.received_bytes or unasked


def response_facts(exchange: Exchange, rules: Rules, ranking: Ranking, document: Any) -> Facts:
    """The facts of a response, as far as *rules* ask for them; of one that is an error, only few are there."""
    operation = exchange.operation
    found: Facts = dict.fromkeys(facts.OF_RESPONSE, ABSENT)
    found["status"] = exchange.upstream_status
    found["body"] = ABSENT if document is None else document
    found[NODES] = None  # another body's
    if 200 <= exchange.upstream_status < 300:
        if operation is not None and operation.answer.results:
            found.update(facts.of_ranking(ranking, exchange.call))
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
    """What the clauses of the rules saw in a request whose body has been masked for the record."""
    shown = exchange.facts
    if exchange.masked_request:
        shown = shown | _masked_call(exchange) | {"path": _HIDDEN if exchange.masked_target else exchange.path}
        if exchange.parsed:
            shown = shown | {"body": exchange.body}
    return trace.lines(exchange.judged_request, shown, scrub)


def response_trace(exchange: Exchange, scrub: Scrubber) -> tuple[TraceLine, ...]:
    """The same of a response; where anything is masked, its texts are not shown."""
    shown = exchange.facts
    if exchange.connection is not None and exchange.connection.masks:
        shown = shown | {"body": _HIDDEN, "result_text": _HIDDEN} | dict.fromkeys(facts.OF_ANSWER_TEXTS, _HIDDEN)
        if exchange.masked_request:
            shown = shown | dict.fromkeys((*OF_CALL, *facts.OF_TEXTS), _HIDDEN)
    return trace.lines(exchange.judged_response, shown, scrub)


def _masked_call(exchange: Exchange) -> Facts:
    """The facts that stand in the masked body; what cannot be read there any more is hidden."""
    hidden = dict.fromkeys(facts.OF_TEXTS, _HIDDEN) | {"text": _HIDDEN}
    if exchange.operation is None:
        return hidden | {"document_text": _HIDDEN}
    try:
        call = exchange.operation.read_call(exchange.body, exchange.parameters, exchange.variables)
        texts = exchange.operation.texts(exchange.body, call.documents)
    except ContentError:
        return hidden | dict.fromkeys(OF_CALL, _HIDDEN) | {"operation": exchange.operation.name}
    # Where any mask has changed the target, no text of it is shown.
    query, variables = ("", {}) if exchange.masked_target else (exchange.query, exchange.variables)
    seen = facts.of_texts(exchange.operation.reading.read(exchange.body, query, variables))
    return facts.of_call(call) | {"document_text": texts, "text": facts.all_text(seen)} | seen


def _document_texts(exchange: Exchange, body: Any) -> Any:
    """What is written in the request's documents; of an operation that is not known, everything in its body."""
    if exchange.operation is None:
        return leaf_texts(body) if exchange.parsed else ABSENT
    documents = exchange.call.documents
    return ABSENT if documents is None else exchange.operation.texts(body, documents)
