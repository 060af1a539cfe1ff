"""Index names and patterns: which indexes an expression could reach. Pure; in doubt, the answer is "it could".

Expressions are parsed like in Elasticsearch and OpenSearch: names, ``*`` wildcards, ``_all``, exclusions (``-name``),
date math (``<logs-{now/d}>``), other clusters (``cluster:name``) and selectors (``name::failures``). Aliases cannot be
resolved here, so a list of allowed names (``outside``) protects better than a list of protected names. Collections and
namespaces of other services are plain names (`names_one_of`, `names_none_of`), except for ``*``: with it, a profile
states that a request could reach any of them.
"""

import re
from functools import lru_cache

_DATE_MATH = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")


def touches(expression: str, protected: tuple[str, ...]) -> bool:
    """True if *expression* could reach an index that matches one of *protected* (patterns with ``*``)."""
    found = _pattern(expression).casefold()
    ways = {found, found.partition(":")[2], found.rpartition(":")[2], found.partition("::")[0].rpartition(":")[2]}
    ways |= {way[1:] for way in ways if way.startswith("-")}
    return any(_meet(way, p.casefold()) for way in ways for p in protected)


def outside(expression: str, allowed: tuple[str, ...]) -> bool:
    """True if *expression* could reach an index that matches none of *allowed* (patterns with ``*``)."""
    pattern = _pattern(expression).partition("::")[0].removeprefix("-")
    return not any(_covers(p, pattern) for p in allowed)


def names_one_of(name: str, protected: tuple[str, ...]) -> bool:
    """Like `touches`, for a plain *name*."""
    return name == "*" or any(_covers(p.casefold(), name.casefold(), literal=True) for p in protected)


def names_none_of(name: str, allowed: tuple[str, ...]) -> bool:
    """Like `outside`, for a plain *name*."""
    return name == "*" or not any(_covers(p, name, literal=True) for p in allowed)


def _pattern(expression: str) -> str:
    """Convert *expression* to names with ``*``; unknown parts become ``*``."""
    if expression in ("_all", "") or "\\" in expression:
        return "*"
    if "<" in expression or "{" in expression:
        expression = _DATE_MATH.sub("*", expression).replace("<", "").replace(">", "").replace("{", "*")
    return expression.replace("?", "*").lstrip("+")


@lru_cache(4096)
def _meet(one: str, other: str) -> bool:
    """True if some name matches both patterns."""
    if "*" not in one and "*" not in other:
        return one == other
    reachable = {0}  # positions in `other` that a prefix of `one` can match up to
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
    """True if *allowed* matches every name that *pattern* matches: its stars must cover those of *pattern*."""
    # The part before a colon is another cluster, which a star alone does not allow.
    star = ".*" if literal or ":" in allowed else "[^:]*"
    expression = "".join(star if char == "*" else re.escape(char) for char in allowed)
    if literal:
        return re.fullmatch(expression, pattern, re.DOTALL) is not None
    # A star of `pattern` becomes a character that only a star of `allowed` matches.
    return re.fullmatch(expression, pattern.replace("*", "\0"), re.DOTALL) is not None
