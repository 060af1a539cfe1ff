"""Texts of errors: the gateway's own, and the ones of mitmproxy on which an answer or the record depends.

Texts of the gateway have none of the characters of `_QUOTATION`: the record would cut them off there.
"""

import re
from typing import Literal

#: The error of a request if its body does not arrive in time. The answer is 408.
TOO_SLOW = "the body did not come in time"
#: The error of a request if there is no room for its body (`Bounds.bodies`). The answer is 503.
TOO_FULL = "the bodies in memory exceed the limit"

#: How mitmproxy's errors begin if a service closes its connection instead of answering, also after HTTP/2's GOAWAY.
_UNANSWERED = ("server closed connection", "peer closed connection", "HTTP/2 connection closed")
#: The part of mitmproxy's error that says that a body exceeds the limit, and how it begins for a request's body.
BODY_LIMIT = "body_size_limit"
_OF_REQUEST = "Request"

#: Where a quotation begins in mitmproxy's errors.
_QUOTATION = re.compile(r"""[:'"(]""")
_LONGEST = 80


def too_large(message: str) -> Literal["request", "response"] | None:
    """Return the body that mitmproxy's error *message* reports as too large; None if it reports something else."""
    if BODY_LIMIT not in message:
        return None
    return "request" if message.startswith(_OF_REQUEST) else "response"


def unanswered(message: str) -> bool:
    """True if mitmproxy's error *message* of a service means that it has ended the connection without an answer."""
    return message.startswith(_UNANSWERED)


def unquoted(message: str) -> str:
    """Return mitmproxy's error *message* up to its first quotation: it quotes bytes that must not be recorded."""
    return _QUOTATION.split(message)[0].strip()[:_LONGEST]
