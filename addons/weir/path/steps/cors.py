"""Cross-origin requests: which web pages may read answers, and the answers to their browsers' preflights."""

from weir.base.problems import Kind, Refusal
from weir.path.exchange import Arrived, Document, Exchange, Head, Preflight, Routed
from weir.path.step import Answer
from weir.routing.cors import is_preflight

_OF_BODIES = frozenset((b"content-length", b"transfer-encoding", b"expect"))


class AllowOrigin:
    """Add the headers with which the caller's browser lets its page read the answer. Recognise a preflight."""

    name = "allow_origin"

    def __call__(self, exchange: Exchange, arrived: Arrived, head: Head, routed: Routed | None) -> Preflight | None:
        cors = routed.connection.cors if routed is not None else None
        if cors is None:
            return None
        allowed = cors.allowed(head.fields)
        for name, value in cors.answer(allowed):
            exchange.add_header(name, value)
        if not is_preflight(arrived.method, head.fields):
            return None
        if head.fields.keys() & _OF_BODIES and head.fields.get(b"content-length") != b"0":
            raise Refusal(Kind.MALFORMED_REQUEST, "A preflight has no body.")
        if not allowed:
            raise Refusal(
                Kind.ACCESS_DENIED,
                "The connection's `cors` does not list the origin of the page. Ask the gateway's operator to add it.",
            )
        return Preflight(cors.preflight(head.fields))


class AnswerPreflight:
    """Answer a preflight. A browser sends it without a token, and nothing of it reaches the service."""

    name = "answer_preflight"

    def __call__(self, exchange: Exchange, preflight: Preflight | None) -> Answer | None:
        if preflight is None:
            return None
        return Answer(Document(b"", (*exchange.own_headers.items(), *preflight.fields), 204))
