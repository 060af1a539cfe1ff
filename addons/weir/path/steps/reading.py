"""Profiles: the body is decoded and parsed here, once, and read as a Call or a ranking."""

import contextlib
from typing import Any

from mitmproxy import http

from weir.base.content import (
    ContentError,
    decode,
    is_json,
    is_ndjson,
    parse,
    parse_answer,
    parse_lines,
    parse_parameters,
)
from weir.base.jsonpath import descendants
from weir.base.problems import Kind, Refusal
from weir.path.exchange import Exchange
from weir.policyset.connection import Connection
from weir.profiles.model import UNKNOWN, WEBSOCKET, Call, Ranking
from weir.profiles.profile import Operation, Profile


class Profiles:
    """What a request means, from bytes that can be read in one way only."""

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Set the exchange's body and call, or refuse."""
        data = flow.request.data
        exchange.raw_body = data.content or b""
        body, content_type = read_request(exchange, exchange.raw_body)
        # Judged decoded and as JSON in UTF-8, so sent decoded and named so.
        data.content = body
        fields = [f for f in data.headers.fields if f[0].lower() not in (b"content-encoding", b"content-type")]
        if body:
            fields.append((b"Content-Type", content_type.encode()))
        data.headers.fields = tuple(fields)

    def again(self, exchange: Exchange) -> None:
        """Read the body of a request that has waited again, as its connection's profile says now. May refuse."""
        read_request(exchange, exchange.caller_body, "")

    def read(self, body: bytes, content_type: str) -> object:
        """The parsed response; None where it is not unambiguous JSON."""
        try:
            return parse_answer(body) if body and is_json(content_type) else None
        except ContentError:
            return None

    def response(self, exchange: Exchange, body: bytes, content_type: str, document: object) -> Ranking:
        """The ranking that the service gave; sets how many tokens it says it used."""
        operation = exchange.operation
        if operation is None or not 200 <= exchange.upstream_status < 300:
            return Ranking()
        if document is not None:
            exchange.tokens = operation.answer.read_tokens(document)
        elif content_type.lower().startswith("text/event-stream"):
            exchange.tokens = _streamed_tokens(body, operation)
        exchange.ranking = self._ranking(exchange, operation, document)
        return exchange.ranking

    def record(self, exchange: Exchange, document: object) -> None:
        """Set the exchange's ranking to what the record may hold: *document* has been masked since."""
        if exchange.operation is not None and exchange.ranking.results and exchange.masked:
            exchange.ranking = self._ranking(exchange, exchange.operation, document)

    def _ranking(self, exchange: Exchange, operation: Operation, document: object) -> Ranking:
        if document is None:
            return Ranking(readable=not operation.answer.results)
        return operation.answer.read_ranking(document, exchange.call.documents)


_NONE: dict[str, str] = {}


def _refuse_twins(node: dict[str, Any], known: dict[str, str]) -> None:
    seen: set[str] = set()
    for name in node:
        folded = name.casefold()
        if folded in seen or known.get(folded, name) != name:
            raise ContentError(f"its member {name[:40]!r} differs only in case from one that is read")
        seen.add(folded)


def _streamed_tokens(body: bytes, operation: Operation) -> int | None:
    """What the last event that speaks of tokens says."""
    tokens = None
    for line in body.splitlines():
        if line.startswith(b"data:") and b"usage" in line:
            with contextlib.suppress(ContentError):
                said = operation.answer.read_tokens(parse(line[5:].strip()))
                tokens = tokens if said is None else said
    return tokens


def read_request(exchange: Exchange, content: bytes, encoding: str | None = None) -> tuple[bytes, str]:
    """Read *content*, with the exchange's head, into its body and call; the body decoded, and its type. May refuse.

    *encoding* is that of the content, where it is another than the head says.
    """
    connection, head = exchange.connection, exchange.head
    assert connection is not None
    profile = connection.profile
    if exchange.handshake is not None:
        _read_handshake(exchange, connection)
        return b"", ""
    found = profile.paths.find(exchange.method, exchange.path)
    if found is None and not (connection.allow_unknown and not profile.paths.resembles(exchange.path)):
        raise Refusal(
            Kind.UNKNOWN_OPERATION,
            f"{exchange.method} on this path is not an operation of the profile {profile.name!r}, and this connection "
            "lets only those pass; `weir profiles show` lists them.",
        )
    exchange.operation = found.operation if found else None
    exchange.variables = found.variables if found else {}
    content_type = head.get(b"content-type", b"").decode("ascii", "replace")
    try:
        exchange.parameters = read_parameters(profile, exchange.query)
        if encoding is None:
            encoding = head.get(b"content-encoding", b"").decode("ascii", "replace")
        body = decode(content, encoding)
        if body:
            exchange.body = read_body(body, content_type, exchange.operation)
            exchange.parsed = True
        exchange.caller_body = exchange.sent_body = body
        exchange.call = (
            exchange.operation.read_call(exchange.body, exchange.parameters, exchange.variables)
            if exchange.operation
            else UNKNOWN
        )
    except ContentError as error:
        raise Refusal(Kind.UNREADABLE_BODY, f"The request was refused because {error}.") from None
    media, _, parameters = content_type.partition(";")
    kept = f"; {parameters.strip()}" if "compatible-with=" in parameters else ""
    return body, f"{media.strip()}{kept}"


def _read_handshake(exchange: Exchange, connection: Connection) -> None:
    """A WebSocket is an operation of its own; its model is the query's, as services take it from there. May refuse."""
    if exchange.path not in connection.websocket:
        raise Refusal(
            Kind.UNKNOWN_OPERATION,
            "No WebSocket is opened on this path; the connection's `websocket` lists those where one is.",
        )
    try:
        parameters = parse_parameters(exchange.query) if exchange.query else {}
        models = [value for name, values in parameters.items() if name.casefold() == "model" for value in values]
        if len(models) > 1 or (models and "model" not in parameters):
            raise ContentError("the query names two models")
    except ContentError as error:
        raise Refusal(Kind.UNREADABLE_BODY, f"The request was refused because {error}.") from None
    exchange.call = Call(WEBSOCKET, model=models[0] if models else None)


def read_parameters(profile: Profile, query: str) -> dict[str, list[str]]:
    """The query's parameters, where the profile reads any. Raises `ContentError`."""
    if not profile.reads_parameters or not query:
        return {}
    parameters = parse_parameters(query)
    for name in profile.refused_parameters & parameters.keys():
        raise ContentError(f"the query parameter {name!r} would stand in for the body; send it as the body")
    return parameters


def read_body(body: bytes, content_type: str, operation: Operation | None) -> Any:
    """The parsed *body*. Raises `Refusal` or `ContentError` for what could be read in two ways."""
    ndjson = operation is not None and operation.ndjson
    if content_type.lower().lstrip().startswith("multipart/"):
        raise ContentError("it is multipart where JSON is expected, and could hide a field from policy")
    if not (is_ndjson if ndjson else is_json)(content_type):
        wanted = "application/x-ndjson" if ndjson else "application/json"
        raise Refusal(Kind.UNSUPPORTED_CONTENT, f"Send the body as {wanted} in UTF-8.")
    value = parse_lines(body) if ndjson else parse(body)
    _refuse_lookalikes(value, operation)
    return value


def _refuse_lookalikes(body: Any, operation: Operation | None) -> None:
    """Members that differ only in case from each other or from a fact's: services read them differently."""
    if operation is not None and operation.members_anywhere is not None:
        for inner in descendants(body):
            if type(inner) is dict:
                _refuse_twins(inner, operation.members_anywhere)
        return
    if type(body) is not dict:
        return
    _refuse_twins(body, operation.members if operation else _NONE)
    for names in operation.nested_members if operation else ():
        node: Any = body
        for wanted in names:
            if type(node) is not dict:
                break
            if any(name != wanted and name.casefold() == wanted.casefold() for name in node):
                raise ContentError(f"it has a member that differs only in case from {wanted!r}, which is read")
            node = node.get(wanted)
