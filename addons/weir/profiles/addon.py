"""Profiles: the body is decoded and parsed here, once, and read as a Call or a ranking."""

from mitmproxy import http

from weir.content import ContentError, decode, is_json, parse
from weir.exchange import Exchange
from weir.problems import Kind, Refusal
from weir.profiles.model import UNKNOWN, Ranking
from weir.profiles.profile import Operation


def _refuse_lookalikes(body: object, operation: Operation | None) -> None:
    """Members that differ only in case from each other or from a fact's: services read them differently."""
    if not isinstance(body, dict):
        return
    seen: set[str] = set()
    for name in body:
        folded = name.casefold()
        if folded in seen or (operation is not None and folded in operation.members and name != folded):
            raise ContentError(f"its member {name[:40]!r} differs only in case from one that is read")
        seen.add(folded)


class Profiles:
    """What a request means, from bytes that can be read in one way only."""

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Set the exchange's body and call, or refuse."""
        connection, data, head = exchange.connection, flow.request.data, exchange.head
        assert connection is not None
        raw = data.content or b""
        exchange.operation = connection.profile.operation(exchange.method, exchange.path)
        unknown = exchange.operation is None
        if unknown and not (connection.allow_unknown and not connection.profile.resembles(exchange.path)):
            raise Refusal(
                Kind.UNKNOWN_OPERATION,
                f"{exchange.method} {exchange.path} is not an operation of the profile "
                f"{connection.profile.name!r}, and this connection lets only those pass.",
            )
        try:
            body = decode(raw, head.get(b"content-encoding", b"").decode("ascii", "replace"))
            if body:
                if not is_json(head.get(b"content-type", b"").decode("ascii", "replace")):
                    raise Refusal(Kind.UNSUPPORTED_CONTENT, "Send the body as application/json in UTF-8.")
                exchange.body = parse(body)
                exchange.parsed = True
                _refuse_lookalikes(exchange.body, exchange.operation)
            exchange.caller_body = exchange.sent_body = body
            exchange.call = exchange.operation.read_call(exchange.body) if exchange.operation else UNKNOWN
        except ContentError as error:
            raise Refusal(Kind.UNREADABLE_BODY, f"The request was refused because {error}.") from None
        # Judged decoded and as JSON in UTF-8, so sent decoded and named so.
        data.content = body
        fields = [f for f in data.headers.fields if f[0].lower() not in (b"content-encoding", b"content-type")]
        if body:
            fields.append((b"Content-Type", head[b"content-type"].partition(b";")[0].strip()))
        data.headers.fields = tuple(fields)

    def read(self, body: bytes, content_type: str) -> object:
        """The parsed response; None where it is not unambiguous JSON."""
        try:
            return parse(body) if body and is_json(content_type) else None
        except ContentError:
            return None

    def response(self, exchange: Exchange, document: object) -> None:
        """Set the exchange's ranking, from the document as the record holds it."""
        if exchange.operation is not None and 200 <= exchange.upstream_status < 300:
            ranking = exchange.operation.read_ranking(document)
            exchange.ranking = ranking if document is not None else Ranking(readable=False)
