"""Index names and patterns: what could an expression reach? Pure; errs on the side of "it could".

Expressions are written as Elasticsearch and OpenSearch read them: names, ``*`` wildcards, ``_all``, exclusions
(``-name``), date math (``<logs-{now/d}>``), other clusters (``cluster:name``) and selectors (``name::failures``).
Aliases cannot be resolved here: a list of what is allowed (``outside``) is stronger than one of what is protected.
What other services call a collection or namespace is nothing but a name (`names_one_of`, `names_none_of`), but for
``*``, by which profiles say that a request could reach any.
"""

import re
from functools import lru_cache

_DATE_MATH = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")


def touches(expression: str, protected: tuple[str, ...]) -> bool:
    """Whether *expression* could reach an index whose name one of *protected* (patterns with ``*``) matches."""
    found = _pattern(expression).casefold()
    ways = {found, found.partition(":")[2], found.rpartition(":")[2], found.partition("::")[0].rpartition(":")[2]}
    ways |= {way[1:] for way in ways if way.startswith("-")}
    return any(_meet(way, p.casefold()) for way in ways for p in protected)


def outside(expression: str, allowed: tuple[str, ...]) -> bool:
    """Whether *expression* could reach an index whose name none of *allowed* (patterns with ``*``) matches."""
    pattern = _pattern(expression).partition("::")[0].removeprefix("-")
    return not any(_covers(p, pattern) for p in allowed)


def names_one_of(name: str, protected: tuple[str, ...]) -> bool:
    """As `touches`, where *name* is nothing but a name."""
    return name == "*" or any(_covers(p.casefold(), name.casefold(), literal=True) for p in protected)


def names_none_of(name: str, allowed: tuple[str, ...]) -> bool:
    """As `outside`, where *name* is nothing but a name."""
    return name == "*" or not any(_covers(p, name, literal=True) for p in allowed)


def _pattern(expression: str) -> str:
    """*expression* as names with ``*``: whatever cannot be told becomes one."""
    if expression in ("_all", "") or "\\" in expression:
        return "*"
    if "<" in expression or "{" in expression:
        expression = _DATE_MATH.sub("*", expression).replace("<", "").replace(">", "").replace("{", "*")
    return expression.replace("?", "*").lstrip("+")


@lru_cache(4096)
def _meet(one: str, other: str) -> bool:
    """Whether some name matches both patterns."""
    if "*" not in one and "*" not in other:
        return one == other
    reachable = {0}  # positions in `other` that some start of `one` can have matched
    reachable = _skip_stars(reachable, other)
    for char in one:
        if char == "*":
            reachable = set(range(min(reachable), len(other) + 1)) if reachable else set()
        else:
            following = {at for at in reachable if at < len(other) and other[at] == "*"}
            following |= {at + 1 for at in reachable if at < len(other) and other[at] == char}
            reachable = _skip_stars(following, other)
        if not reachable:
            return False
    return len(other) in reachable


def _skip_stars(positions: set[int], pattern: str) -> set[int]:
    found = set(positions)
    for at in positions:
        while at < len(pattern) and pattern[at] == "*":
            at += 1  # noqa: PLW2901
            found.add(at)
    return found


@lru_cache(4096)
def _covers(allowed: str, pattern: str, *, literal: bool = False) -> bool:
    """Whether every name that *pattern* matches, *allowed* matches: its stars must take in those of *pattern*."""
    # Before a colon stands another cluster, which a star alone does not allow.
    star = ".*" if literal or ":" in allowed else "[^:]*"
    expression = "".join(star if char == "*" else re.escape(char) for char in allowed)
    if literal:
        return re.fullmatch(expression, pattern, re.DOTALL) is not None
    # A star of `pattern` is a character that only a star of `allowed` takes.
    return re.fullmatch(expression, pattern.replace("*", "\0"), re.DOTALL) is not None
