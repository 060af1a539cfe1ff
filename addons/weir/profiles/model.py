"""What a request means, as values: the Call, and the results that answer it."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

#: Operations that change what is stored, or how the service behaves.
WRITES = frozenset(("write", "admin"))


@dataclass(frozen=True, slots=True)
class Call:
    """One request in the words of its API's profile. What the request does not have is None, or empty.

    ``query`` holds every text that is asked (a search over several indexes asks several), ``documents`` the
    documents as sent (texts or objects), ``top_n`` is the number of results that will come back (all documents
    where the request does not say), ``breadth`` how many documents the service looks at before it cuts to
    ``top_n``, ``indexes`` the names and patterns as written: aliases and wildcards are not resolved.
    """

    operation: str
    query: tuple[str, ...] = ()
    documents: list[Any] | None = None
    top_n: int | None = None
    breadth: int | None = None
    max_tokens: int | None = None
    model: str | None = None
    indexes: tuple[str, ...] = ()
    return_documents: bool | None = None
    stream: bool | None = None


class Result(msgspec.Struct, frozen=True):
    """One entry of a ranking: the position of its document in the request, and its score, where it has them."""

    index: int | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The results of a response in order; ``readable`` is false where it did not have the profile's shape.

    ``sources`` says of each result where its document comes from (an index, a collection, a field that the
    profile names), as far as that is known. ``entries`` are the results as they came.
    """

    results: tuple[Result, ...] = field(default=())
    readable: bool = True
    sources: tuple[str | None, ...] = ()
    entries: tuple[Any, ...] = ()


UNKNOWN = Call("unknown")
#: The operation that opening a WebSocket is.
WEBSOCKET = "websocket"
