"""The replay key: what lets a masked recording answer the request that it was made from.

A keyed digest of the request as the caller sent it. Plain, it would let anyone who reads a recording
test guesses of what was masked.
"""

import hashlib
import hmac

HEADER = "X-Weir-Replay-Key"


def replay_key(key: bytes, connection: str, method: str, target: str, body: bytes) -> str:
    """The key of a request with *method* to the caller's *target* (path and query) with *body* (decoded).

    *connection* is part of it: what one answered must not be given to those who may only use another.
    """
    mac = hmac.new(key, f"{connection}\n{method}\n{target}\n".encode(), hashlib.sha256)
    mac.update(body)
    return mac.hexdigest()
