"""Find secrets in what gateways have written: thousands of them in megabytes, in time proportional to their sizes."""

import base64
import re
from collections.abc import Collection, Iterable, Mapping

#: What a token or a credential consists of, and what it looks like in base64.
SECRET = rb"[A-Za-z0-9_.~+/=-]"


def forms(secrets: Iterable[str]) -> set[bytes]:
    """Return what to look for: each secret, or of a JWT its signature, which the whole token contains; and base64."""
    needles: set[bytes] = set()
    for secret in secrets:
        needles |= {secret.rpartition(".")[2].encode(), base64.b64encode(secret.encode()).rstrip(b"=")[:-1]}
    assert all(re.fullmatch(SECRET + rb"+", needle) for needle in needles), "a secret that could not be found"
    return needles


def words(text: bytes, needles: Collection[bytes]) -> set[bytes]:
    """Return the parts of *text* in which a needle may stand; each once, however often it is there."""
    return set(re.findall(SECRET + b"{%d,}" % min(map(len, needles)), text))


def find[Place](needles: Collection[bytes], places: Mapping[bytes, Place]) -> list[Place]:
    """Return the place of each word in which a needle stands.

    Each needle is indexed by its *size* bytes at each of its first *step* positions. A needle has at least
    *step* + *size* - 1 bytes, so one of these stands at a multiple of *step* in any word that contains it.
    """
    shortest = min(map(len, needles))
    size = (shortest + 1) // 2
    step = shortest - size + 1
    index: dict[bytes, set[bytes]] = {}
    for needle in needles:
        for start in range(step):
            index.setdefault(needle[start : start + size], set()).add(needle)
    found = []
    for word, place in places.items():
        grams = {word[start : start + size] for start in range(0, len(word) - size + 1, step)} & index.keys()
        if any(needle in word for gram in grams for needle in index[gram]):
            found.append(place)
    return found
