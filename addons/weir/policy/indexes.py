"""Index names and patterns: what could an expression reach? Pure; errs on the side of "it could".

Expressions are written as Elasticsearch and OpenSearch read them: names, ``*`` wildcards, ``_all``, exclusions
(``-name``), date math (``<logs-{now/d}>``), other clusters (``cluster:name``) and selectors (``name::failures``).
Aliases cannot be resolved here: a list of what is allowed (``outside``) is stronger than one of what is protected.
"""

import re
from functools import lru_cache

_DATE_MATH = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")


def touches(expression: str, protected: tuple[str, ...]) -> bool:
    """Whether *expression* could reach an index whose name one of *protected* (patterns with ``*``) matches."""
    if expression.startswith("-"):
        return False  # only ever takes away
    pattern = _pattern(expression.partition("::")[0].rpartition(":")[2])
    whole = _pattern(expression)
    return any(_meet(pattern, p.casefold()) or _meet(whole, p.casefold()) for p in protected)


def outside(expression: str, allowed: tuple[str, ...]) -> bool:
    """Whether *expression* could reach an index whose name none of *allowed* (patterns with ``*``) matches."""
    if expression.startswith("-"):
        return False
    return not any(_covers(p, _pattern(expression, fold=False)) for p in allowed)


def _pattern(expression: str, *, fold: bool = True) -> str:
    if expression in ("_all", ""):
        return "*" if expression else ""
    if "<" in expression or "{" in expression:
        expression = _DATE_MATH.sub("*", expression).replace("<", "").replace(">", "")
    expression = expression.replace("?", "*").lstrip("+")
    return expression.casefold() if fold else expression


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
def _covers(allowed: str, pattern: str) -> bool:
    """Whether every name that *pattern* matches, *allowed* matches: its stars must take in those of *pattern*."""
    expression = "".join(".*" if char == "*" else re.escape(char) for char in allowed)
    # A star of `pattern` is a character that only a star of `allowed` takes.
    return re.fullmatch(expression, pattern.replace("*", "\0"), re.DOTALL) is not None
