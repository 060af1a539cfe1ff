"""Reading: decode and parse the request's body once, and read it as a call. Read the answer as a ranking."""

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
from weir.masking.metering import Meter
from weir.path.exchange import Answered, Arrived, Body, Exchange, Head, Matched, Ranked, Read, Routed
from weir.policyset.connection import Connection
from weir.profiles.framing import UNKNOWN_FRAMING
from weir.profiles.model import UNKNOWN, WEBSOCKET, Call, Ranking
from weir.profiles.profile import Operation, Profile
from weir.profiles.usage import NO_USAGE

_NONE: dict[str, str] = {}
_WITH_BODY = ("POST", "PUT", "PATCH")
#: Maximum length of a path in a refusal.
_LONGEST_PATH = 200


class _Unreadable:
    """Turns a `ContentError` of the block into a refusal."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ContentError):
            raise Refusal(Kind.UNREADABLE_BODY, f"The request was refused because {error}.") from None


_unreadable = _Unreadable()


class CheckWhole:
    """Refuse trailers: they arrive after the head is judged."""

    name = "check_whole"

    def __call__(self, flow: http.HTTPFlow) -> None:
        if flow.request.trailers is not None:
            raise Refusal(Kind.AMBIGUOUS_REQUEST, "Refused because trailers are not supported.")


class Match:
    """Find the operation of the connection's profile. Refuse an unknown one unless the connection allows it."""

    name = "match"

    def __call__(self, arrived: Arrived, head: Head, routed: Routed) -> Matched:
        connection, profile = routed.connection, routed.connection.profile
        if head.handshake is not None:
            if routed.path not in connection.websocket:
                raise Refusal(
                    Kind.UNKNOWN_OPERATION,
                    "The connection does not open WebSockets on this path; its `websocket` lists the paths.",
                )
            return Matched(None, _NONE, {})
        found = profile.paths.find(arrived.method, routed.path)
        if found is None and arrived.method == "HEAD":
            found = profile.paths.find("GET", routed.path)  # the same without a body (RFC 9110, 9.3.2)
        if found is None and connection.allow_unknown and arrived.method in _WITH_BODY:
            # A service may treat these methods alike, so the body is judged as that of the known operation.
            others = (profile.paths.find(method, routed.path) for method in _WITH_BODY)
            found = next((other for other in others if other is not None), None)
        if "%2f" in routed.path.lower() and not profile.paths.keeps_slashes(routed.path):
            raise Refusal(Kind.AMBIGUOUS_REQUEST, "Refused because the path escapes a slash that servers may unescape.")
        if found is None and not (connection.allow_unknown and profile.paths.is_distinct(routed.path)):
            raise Refusal(Kind.UNKNOWN_OPERATION, _unknown(connection, arrived.method, routed.path))
        with _unreadable:
            parameters = read_parameters(profile, routed.query)
        return Matched(found.operation, found.variables, parameters) if found else Matched(None, _NONE, parameters)


def _unknown(connection: Connection, method: str, path: str) -> str:
    methods = connection.profile.paths.methods(path)
    where = "on this path" if connection.masks else path[:_LONGEST_PATH]  # the record must not show masked values
    known = f" (the profile knows {', '.join(methods)} there)" if methods else ""
    instead = "Ask the gateway's operator to allow it, with `unknown_operations: allow` or in the profile."
    if not methods and connection.allow_unknown:
        instead = "It resembles a known path, which the service could take it for. Write the path as the service does."
    return f"{method} {where} is not an operation of the profile {connection.profile.name!r}{known}. {instead}"


class Decode:
    """Decode the body. Refuse it if its decoded size exceeds the bounds."""

    name = "decode"

    def __call__(self, flow: http.HTTPFlow, head: Head, body: Body | None) -> Body:
        if body is not None:
            return body  # decoded before the request waited for approval
        raw = flow.request.data.content or b""
        if head.handshake is not None:
            return Body(raw, b"")
        with _unreadable:
            return Body(raw, decode(raw, head.fields.get(b"content-encoding", b"").decode("ascii", "replace")))


class ReadCall:
    """Parse the body once and strictly, and read the call. Send it as it was judged: decoded and in UTF-8."""

    name = "read_call"

    def __call__(self, flow: http.HTTPFlow, head: Head, routed: Routed, matched: Matched, body: Body) -> Read:
        read = read_call(head, routed, matched, body)
        data = flow.request.data
        data.content = body.decoded
        fields = [f for f in data.headers.fields if f[0].lower() not in (b"content-encoding", b"content-type")]
        if body.decoded:
            fields.append((b"Content-Type", _sent_type(head).encode()))
        data.headers.fields = tuple(fields)
        return read


def read_call(head: Head, routed: Routed, matched: Matched, body: Body) -> Read:
    """Parse the decoded *body* and read its call. Raises `Refusal`.

    If a stream reports its usage only on request, *body* is changed to ask for it, before anything is read from it.
    """
    if head.handshake is not None:
        return Read(None, False, b"", Call(WEBSOCKET, model=_websocket_model(routed.query)))
    operation = matched.operation
    with _unreadable:
        document = None
        if body.decoded:
            content_type = head.fields.get(b"content-type", b"").decode("ascii", "replace")
            document = read_body(body.decoded, content_type, operation)
        if operation is not None and operation.asks_usage(document):
            body.decoded, body.asks_usage = operation.usage.ask(document, body.decoded), True
        call = operation.read_call(document, matched.parameters, matched.variables) if operation else UNKNOWN
    return Read(document, bool(body.decoded), body.decoded, call)


def read_again(exchange: Exchange) -> Read:
    """Read the call of a request from its decoded body again, and replace the earlier result. Raises `Refusal`."""
    read = read_call(exchange[Head], exchange[Routed], exchange[Matched], exchange[Body])
    exchange.put(read)
    return read


def _sent_type(head: Head) -> str:
    """Return the caller's Content-Type without parameters such as charset: the body is sent in UTF-8."""
    media, _, parameters = head.fields.get(b"content-type", b"").decode("ascii", "replace").partition(";")
    kept = f"; {parameters.strip()}" if "compatible-with=" in parameters else ""
    return f"{media.strip()}{kept}"


def _websocket_model(query: str) -> str | None:
    """Return the model that the query of a handshake names, or None. Raises `Refusal` if it names two."""
    with _unreadable:
        parameters = parse_parameters(query) if query else {}
        models = [value for name, values in parameters.items() if name.casefold() == "model" for value in values]
        if len(models) > 1 or (models and "model" not in parameters):
            raise ContentError("the query names two models")
    return models[0] if models else None


def read_parameters(profile: Profile, query: str) -> dict[str, list[str]]:
    """Return the query's parameters if the profile reads any. Raises `ContentError`."""
    if not profile.reads_parameters or not query:
        return {}
    parameters = parse_parameters(query)
    for name in profile.refused_parameters & parameters.keys():
        raise ContentError(f"the query parameter {name!r} would replace the body; send it as the body")
    return parameters


def read_body(body: bytes, content_type: str, operation: Operation | None) -> Any:
    """Return the parsed *body*. Raises `Refusal` or `ContentError` if it could be read in two ways."""
    ndjson = operation is not None and operation.ndjson
    if content_type.lower().lstrip().startswith("multipart/"):
        raise ContentError("it is multipart instead of JSON, and could hide a field from policy")
    if not (is_ndjson if ndjson else is_json)(content_type):
        wanted = "application/x-ndjson" if ndjson else "application/json"
        raise Refusal(Kind.UNSUPPORTED_CONTENT, f"Send the body as {wanted} in UTF-8.")
    value = parse_lines(body) if ndjson else parse(body)
    _refuse_lookalikes(value, operation)
    return value


def document_of(operation: Operation | None, body: bytes) -> Any:
    """Parse the *body* of a request that was read before, and may be masked since. None if it is empty."""
    if not body:
        return None
    return parse_lines(body) if operation is not None and operation.ndjson else parse(body)


def _refuse_lookalikes(body: Any, operation: Operation | None) -> None:
    """Refuse member names that differ only in case, from each other or from a name that facts use.

    Some services ignore case and others do not. Raises `ContentError`.
    """
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


def _refuse_twins(node: dict[str, Any], known: dict[str, str]) -> None:
    seen: set[str] = set()
    for name in node:
        folded = name.casefold()
        if folded in seen or known.get(folded, name) != name:
            raise ContentError(f"its member {name[:40]!r} differs only in case from one that is read")
        seen.add(folded)


# Answers: parsing and rankings.


def parsed_answer(body: bytes, content_type: str) -> object:
    """Return the parsed *body* of an answer. None if it is not JSON, or if it could be read in two ways."""
    try:
        return parse_answer(body) if body and is_json(content_type) else None
    except ContentError:
        return None


class ReadRanking:
    """Read the answer's ranking and its reported number of tokens."""

    name = "read_ranking"

    def __call__(self, exchange: Exchange, matched: Matched, read: Read, answered: Answered) -> Ranked:
        ranking = ranking_of(exchange, matched, read, answered.document)
        operation = matched.operation
        if operation is not None and 200 <= answered.status < 300:
            if answered.document is not None:
                exchange.tokens = operation.answer.read_tokens(answered.document)
            elif exchange.stream is None:
                exchange.tokens = metered(answered, operation).tokens
        exchange.copies.ranking = ranking
        return Ranked(ranking)


def ranking_of(exchange: Exchange, matched: Matched, read: Read, document: object) -> Ranking:
    """Return the ranking in the answer's *document*; an empty ranking for errors and unknown operations."""
    operation = matched.operation
    if operation is None or not 200 <= exchange.upstream_status < 300:
        return Ranking()
    if document is None:
        return Ranking(readable=not operation.answer.results)
    return operation.answer.read_ranking(document, read.call.documents)


def metered(answered: Answered, operation: Operation | None) -> Meter:
    """Return the measures of a whole answer that is not a JSON document."""
    meter = meter_of(operation, answered.content_type)
    meter.feed(answered.body)
    meter.end()
    return meter


def meter_of(operation: Operation | None, content_type: str, *, sizes: bool = True) -> Meter:
    """Return the meter of an answer to *operation*. With *sizes*, it measures texts too."""
    if operation is None:
        return Meter(content_type, NO_USAGE, UNKNOWN_FRAMING.records, sizes=sizes)
    return Meter(content_type, operation.usage, operation.framing.records, sizes=sizes)
