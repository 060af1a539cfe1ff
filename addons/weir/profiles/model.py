"""What a request means, as values: the Call, and the results that answer it."""

from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Call:
    """One request in the words of its API's profile. What the request does not have is None.

    ``documents`` are the documents as sent (texts or objects), ``top_n`` is the number of results
    that will come back (all of them where the request does not say).
    """

    operation: str
    query: str | None = None
    documents: list[Any] | None = None
    top_n: int | None = None
    model: str | None = None
    indexes: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """One entry of a ranking: the position of its document in the request, and its score."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The results of a response in order; ``readable`` is false where it did not have the profile's shape."""

    results: tuple[Result, ...] = field(default=())
    readable: bool = True


UNKNOWN = Call("unknown")
