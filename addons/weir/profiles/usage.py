"""Usage: where a stream reports the number of used tokens, and the option that asks for it. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from weir.base.jsonpath import Path
from weir.profiles.readers import LARGEST


@dataclass(frozen=True, slots=True)
class Usage:
    """Where the documents of a stream report the number of used tokens.

    ``option``: the members that lead to the request's boolean that asks for the report; empty if the service needs
    none. ``results``: paths to results, which the document that only answers the option does not have.
    """

    tokens: tuple[Path, ...] = ()
    option: tuple[str, ...] = ()
    results: tuple[Path, ...] = ()

    @property
    def names(self) -> tuple[bytes, ...]:
        """A document with a report contains one of these texts. The empty text stands for an unknown name."""
        return tuple((path.last_member or "").encode() for path in self.tokens)

    def is_unasked(self, body: Any) -> bool:
        """True if the request with the parsed *body* can have the option, and does not set it."""
        if not self.option or type(body) is not dict:
            return False
        value: Any = body
        for name in self.option:
            if value is None:
                return True
            if type(value) is not dict:
                return False  # the service refuses it
            value = value.get(name)
        return value is None or value is False

    def ask(self, body: Any, content: bytes) -> bytes:
        """Set the option in the parsed *body*, and return its bytes, *content*, with it.

        All other values keep their bytes.
        """
        *around, last = self.option
        node = body
        for name in around:
            if node.get(name) is None:
                node[name] = {}
            node = node[name]
        node[last] = True
        return _with_option(content, self.option)

    def has_results(self, document: Any) -> bool:
        """True if *document* has results."""
        return any(value for path in self.results for value in path.find(document))


#: The usage of operations that report none.
NO_USAGE = Usage()


def total(values: Iterable[Any]) -> int | None:
    """Return the sum of numbers of tokens; None if there are none, or if one cannot be a number of tokens."""
    found = list(values)
    if not found or not all(type(v) in (int, float) and math.isfinite(v) and 0 <= v <= LARGEST for v in found):
        return None
    return int(sum(found))


def _with_option(content: bytes, names: tuple[str, ...]) -> bytes:
    """Return the JSON object *content* (or null) with the member at *names* set to true."""
    members = msgspec.json.decode(content, type=dict[str, msgspec.Raw] | None) or {}
    name, *inner = names
    value = _with_option(bytes(members.get(name, b"null")), tuple(inner)) if inner else b"true"
    return msgspec.json.encode({**members, name: msgspec.Raw(value)})
