"""Profiles: the body is decoded and parsed here, once, and read as a Call or a ranking."""

from mitmproxy import http

from weir.content import ContentError, decode, is_json, parse
from weir.exchange import Exchange
from weir.problems import Kind, Refusal
from weir.profiles.model import UNKNOWN, Ranking


class Profiles:
    """What a request means, from bytes that can be read in one way only."""

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Set the exchange's body and call, or refuse."""
        connection, data, head = exchange.connection, flow.request.data, exchange.head
        assert connection is not None
        raw = data.content or b""
        exchange.operation = connection.profile.operation(exchange.method, exchange.path)
        if exchange.operation is None and not connection.allow_unknown:
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
            exchange.caller_body = exchange.sent_body = body
            exchange.call = exchange.operation.read_call(exchange.body) if exchange.operation else UNKNOWN
        except ContentError as error:
            raise Refusal(Kind.UNREADABLE_BODY, f"The request was refused because {error}.") from None
        if body is not raw:  # judged decoded, so sent decoded
            data.content = body
            data.headers.fields = tuple(f for f in data.headers.fields if f[0].lower() != b"content-encoding")

    def response(self, exchange: Exchange, body: bytes, content_type: str) -> object:
        """The parsed response, with the exchange's ranking set; None where it is not JSON."""
        try:
            document = parse(body) if body and is_json(content_type) else None
        except ContentError:
            document = None
        if exchange.operation is not None and 200 <= exchange.upstream_status < 300:
            ranking = exchange.operation.read_ranking(document)
            exchange.ranking = ranking if document is not None else Ranking(readable=False)
        return document
