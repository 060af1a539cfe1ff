"""The replay key: with it, a masked recording answers the request that it was made from.

It is a keyed digest of the request as the caller sent it. With a digest without a key, a reader of the recording could
test guesses of masked values.
"""

import hashlib
import hmac

HEADER = "X-Weir-Replay-Key"


def replay_key(key: bytes, connection: str, method: str, target: str, body: bytes) -> str:
    """Return the key of a request with *method*, the caller's *target* (path and query) and the decoded *body*.

    The key includes *connection*, because callers of one connection must not get the answers of another.
    """
    mac = hmac.new(key, f"{connection}\n{method}\n{target}\n".encode(), hashlib.sha256)
    mac.update(body)
    return mac.hexdigest()
