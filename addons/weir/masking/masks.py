"""The compiled masks of a connection: which of them apply to the record, the upstream and each caller."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from weir.base.jsonpath import Path, PathError, Paths, compile_path
from weir.base.mistakes import SettingError, did_you_mean, placed
from weir.config.model import MaskSettings
from weir.masking.detectors.engine import BUILT_IN, GROUPS, KINDS, Detectors
from weir.masking.detectors.model import Detector
from weir.masking.strategies import Strategy, Tokens, is_token, replacement, strategies

Direction = Literal["request", "response"]

#: Names with only one JSON spelling, apart from \\u escapes, which are decoded first.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_ .:@-]+")
#: Maximum number of compiled path combinations that are cached.
_MOST_PLANS = 256


class MaskedField(msgspec.Struct, frozen=True):
    """How many values one mask replaced, as stored in the journal.

    ``path`` is the named field (``header:x`` and ``query:x`` for those), ``kind`` the recognised kind.
    """

    path: str
    strategy: str
    count: int
    kind: str = ""
    rule: str = ""


_UNRECOGNISED = (
    ": names of persons, companies and places are not recognised in texts; name their fields (fields: [$..name]), "
    "or list them as terms of a detector of your own"
)
#: Kinds that other tools have and that need a model of language.
_NAMES = frozenset({
    "person", "persons", "people", "name", "names", "full_name", "first_name", "last_name", "per", "location",
    "locations", "loc", "gpe", "address", "addresses", "city", "country", "organization", "organizations",
    "organisation", "organisations", "org", "company", "companies", "nrp",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mask:
    """One entry of ``masks:``: what it hides, how, from which readers, and in which direction.

    With both paths and kinds, it hides only values that are recognised within the named fields.
    """

    rule: str
    strategy: Strategy
    paths: tuple[Path, ...]
    headers: frozenset[str]
    parameters: frozenset[str]
    kinds: tuple[str, ...]
    hidden_from: frozenset[str]
    directions: frozenset[str]
    revealed_to: frozenset[str]  # groups


class View:
    """The masks of one view of one direction, merged: one walk for their paths, one prefilter for their kinds."""

    __slots__ = (
        "_available",
        "_literals",
        "_paths",
        "detectors",
        "headers",
        "masks",
        "named",
        "parameters",
        "strategy_of",
        "tokens",
        "within",
    )

    def __init__(self, masks: Iterable[Mask], detectors: Mapping[str, tuple[Detector, ...]], tokens: Tokens) -> None:
        self.masks = tuple(masks)
        self.tokens = tokens
        self._available = detectors
        #: The mask of each path, in the order that `Paths` numbers them.
        self.named = tuple((mask, path) for mask in self.masks for path in mask.paths)
        self._paths: dict[frozenset[str], Paths] = {}
        self._literals = tuple(_literal(path) for _, path in self.named)
        #: `strategy_of`: masks by kind, without paths. `within`: by number of a path, its mask by kind.
        self.strategy_of = {kind: mask for mask in reversed(self.masks) if not mask.paths for kind in mask.kinds}
        self.within = tuple(dict.fromkeys(mask.kinds, mask) for mask, _ in self.named)
        kinds = {kind for mask in self.masks for kind in mask.kinds}
        chosen = (d for kind, those in detectors.items() if kind in kinds for d in those)
        self.detectors = Detectors(chosen, filter(None, self._literals))
        self.headers = {name: mask for mask in reversed(self.masks) for name in mask.headers}
        self.parameters = {name: mask for mask in reversed(self.masks) for name in mask.parameters}

    def __bool__(self) -> bool:
        return bool(self.masks)

    def only(self, mask: Mask) -> "View":
        """Return a view with only *mask*."""
        return View((mask,), self._available, self.tokens)

    def slots(self, document: Any, present: Iterable[str] | None = None) -> list[tuple[int, Any, Any]]:
        """Return every (number in `named`, container, key) that masks name in *document*.

        *present* are the literals of `detectors` found in its text, if known. A path is skipped if its last name is not
        among them.
        """
        if not self.named:
            return []
        known = frozenset(self._literals if present is None else present) - {""}
        paths = self._paths.get(known)
        if paths is None:
            possible = [literal == "" or literal in known for literal in self._literals]
            paths = Paths((path, number) for number, (_, path) in enumerate(self.named) if possible[number])
            if len(self._paths) < _MOST_PLANS:
                self._paths[known] = paths
        return paths.slots(document)

    @property
    def recognises(self) -> bool:
        """True if the view recognises values by their content."""
        return bool(self.detectors.kinds)


def _literal(path: Path) -> str:
    """Return a text that occurs in every document in which *path* selects something; empty if unknown."""
    member = path.steps[-1][1].member
    return f'"{member}"' if member is not None and _PLAIN_NAME.fullmatch(member) else ""


class Masks:
    """The masks of a connection by view. The record hides everything that any view hides, for every caller."""

    __slots__ = ("_detectors", "_masks", "_tokens", "_views", "_watched")

    def __init__(
        self,
        masks: Iterable[Mask] = (),
        detectors: Mapping[str, tuple[Detector, ...]] | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._masks = tuple(masks)
        self._detectors = detectors or {}
        self._tokens = tokens or Tokens(())
        self._views: dict[tuple[str, str, frozenset[str]], View] = {}
        self._watched = frozenset(group for mask in self._masks for group in mask.revealed_to)

    def __bool__(self) -> bool:
        return bool(self._masks)

    def number(self, mask: Mask) -> int:
        """Return the position of *mask* in the connection's ``masks``."""
        return self._masks.index(mask)

    def record(self, direction: Direction) -> View:
        """Return the masks for the record."""
        return self._view(direction, "record", frozenset(), lambda mask: True)

    def upstream(self) -> View:
        """Return the masks for requests to the service."""
        return self._view("request", "upstream", frozenset(), lambda mask: "upstream" in mask.hidden_from)

    def caller(self, groups: frozenset[str]) -> View:
        """Return the masks for responses to a caller in *groups*."""
        seen = groups & self._watched
        return self._view(
            "response", "caller", seen, lambda mask: "caller" in mask.hidden_from and not seen & mask.revealed_to
        )

    def _view(self, direction: Direction, name: str, groups: frozenset[str], acts: Callable[[Mask], bool]) -> View:
        """Return the view, made once; callers share a view if their groups reveal the same values."""
        known = self._views.get((direction, name, groups))
        if known is None:
            chosen = tuple(mask for mask in self._masks if direction in mask.directions and acts(mask))
            same = (v for (d, _, _), v in self._views.items() if d == direction and v.masks == chosen)
            known = next(same, None) or View(chosen, self._detectors, self._tokens)
            self._views[(direction, name, groups)] = known
        return known


def compile_masks(
    settings: Iterable[MaskSettings],
    tokens: Tokens,
    resolve_group: Callable[[str], str] = lambda group: group,
    own: Mapping[str, tuple[Detector, ...]] | None = None,
) -> Masks:
    """Compile *settings*; *own* holds the detectors of the policy folder by name. Raises `SettingError`."""
    detectors = {kind: tuple(d for d in BUILT_IN if d.kind == kind) for kind in KINDS} | dict(own or {})
    masks = [_mask(number, entry, tokens, resolve_group, detectors) for number, entry in enumerate(settings)]
    compiled = Masks(masks, detectors, tokens)
    for direction in ("request", "response"):
        compiled.record(direction)  # compile it at load, not in the first request
    return compiled


def _mask(
    number: int,
    entry: MaskSettings,
    tokens: Tokens,
    resolve_group: Callable[[str], str],
    detectors: Mapping[str, tuple[Detector, ...]],
) -> Mask:
    if not (entry.fields or entry.detect or entry.headers or entry.query):
        raise SettingError("hides nothing: name fields, headers or query parameters, or what to detect", number)
    if entry.detect and (entry.headers or entry.query):
        raise SettingError("detect covers all headers and parameters; move headers and query to another mask", number)
    paths = []
    for i, field in enumerate(entry.fields):
        try:
            path = compile_path(field)
        except PathError as error:
            raise SettingError(str(error), number, "fields", i) from None
        if path.selects_document:
            raise SettingError("'$' is the whole body; name a field", number, "fields", i)
        paths.append(path)
    kinds: list[str] = []
    for i, name in enumerate(entry.detect):
        members = GROUPS.get(name) or ((name,) if name in detectors else None)
        if members is None:
            known = sorted({*GROUPS, *detectors})
            hint = _hint(name, known)
            raise SettingError(f"there is no detector {name!r}{hint}", number, "detect", i)
        kinds += [kind for kind in (list(detectors) if name == "all" else members) if kind not in kinds]
    revealed: list[str] = []
    if entry.reveal_to is not None:
        if "caller" not in entry.hide_from:
            raise SettingError("reveals what no caller is denied; add caller to hide_from", number, "reveal_to")
        for i, group in enumerate(entry.reveal_to.groups):
            with placed(number, "reveal_to", "groups", i):
                revealed.append(resolve_group(group))
    return Mask(
        rule=f"masks[{number}]",
        strategy=_strategy(number, entry, tokens),
        paths=tuple(paths),
        headers=frozenset(name.lower() for name in entry.headers),
        parameters=frozenset(entry.query),
        kinds=tuple(kinds),
        hidden_from=frozenset(entry.hide_from),
        directions=frozenset(entry.in_),
        revealed_to=frozenset(revealed),
    )


def _hint(name: str, known: list[str]) -> str:
    """Return the end of the message for a detector *name* that does not exist."""
    if name.lower() in _NAMES:
        return _UNRECOGNISED
    return did_you_mean(name, known) or f"; there are {', '.join(known)}"


def _strategy(number: int, entry: MaskSettings, tokens: Tokens) -> Strategy:
    if entry.keep_last is not None and entry.with_ != "partial":
        raise SettingError("keep_last goes with `with: partial`", number, "keep_last")
    if isinstance(entry.with_, dict):
        new = entry.with_["replace"]
        if isinstance(new, str) and is_token(new):
            raise SettingError("a replacement must not look like a hash token", number, "with")
        return replacement(new)
    return (strategies(tokens) if entry.keep_last is None else strategies(tokens, entry.keep_last))[entry.with_]
