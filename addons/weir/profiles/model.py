"""The meaning of a request, as values: the Call, and the results that answer it."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

#: Operations that change stored data, or the service's behaviour.
WRITES = frozenset(("write", "admin"))


@dataclass(frozen=True, slots=True)
class Call:
    """One request, in the terms of its API's profile. Missing parts are None or empty.

    ``query`` holds every query text (a search over several indexes has several), ``documents`` the documents as sent
    (texts or objects). ``top_n`` is the number of results that will be returned (all documents if the request does not
    set it), ``breadth`` the number of documents that the service examines before it cuts to ``top_n``. ``indexes`` are
    the names and patterns as written: aliases and wildcards are not resolved. ``max_tokens`` is the limit of each of
    the ``completions`` that the model writes.
    """

    operation: str
    query: tuple[str, ...] = ()
    documents: list[Any] | None = None
    top_n: int | None = None
    breadth: int | None = None
    max_tokens: int | None = None
    completions: int | None = None
    model: str | None = None
    indexes: tuple[str, ...] = ()
    return_documents: bool | None = None
    stream: bool | None = None

    @property
    def max_output_tokens(self) -> int | None:
        """The limit of all completions together; None if a completion has no limit."""
        return None if self.max_tokens is None else self.max_tokens * (self.completions or 1)


class Result(msgspec.Struct, frozen=True):
    """One entry of a ranking: its document's position in the request, and its score, if it has them."""

    index: int | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The results of a response, in order. ``readable`` is False if the response does not have the profile's shape.

    ``sources`` is the origin of each result's document (an index, a collection, a field that the profile names), if
    known. ``entries`` are the results as received.
    """

    results: tuple[Result, ...] = field(default=())
    readable: bool = True
    sources: tuple[str | None, ...] = ()
    entries: tuple[Any, ...] = ()


UNKNOWN = Call("unknown")
#: The operation of opening a WebSocket.
WEBSOCKET = "websocket"
