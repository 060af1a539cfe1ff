"""What was decided, as values."""

from dataclasses import dataclass
from typing import Any, Final, Literal

Effect = Literal["allow", "deny", "limit", "require_approval"]


class _Absent:
    """The value of a fact that a request does not have. Only ``exists: false`` matches it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()

#: Facts by name; a value, or ABSENT.
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy says of one request, why, and by which text of it.

    ``shadow`` names the rules that matched but are only watched; ``line`` is where the rule stands.
    """

    decision_id: str
    effect: Effect
    rule: str
    message: str
    policy_version: str
    file: str = ""
    line: int = 0
    shadow: tuple[str, ...] = ()
