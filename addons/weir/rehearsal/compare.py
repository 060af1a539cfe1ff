"""Compare two versions of the policies: changed settings by name, and cases with another outcome. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from weir.config.load import Folder
from weir.policy.conditions import written
from weir.rehearsal.cases import Case, Result


def compare(old: Folder, new: Folder) -> Iterator[str]:
    """Yield one sentence for each setting that differs."""
    yield from _settings("the gateway", old.gateway.settings, new.gateway.settings)
    before = {d.settings.connection: d.settings for d in old.connections}
    after = {d.settings.connection: d.settings for d in new.connections}
    yield from _named("the connection", before, after)
    yield from _named(
        "the schedule",
        {Path(d.file).stem: d.settings for d in old.schedules},
        {Path(d.file).stem: d.settings for d in new.schedules},
    )
    yield from _named(
        "the profile",
        {d.settings.profile: d.settings for d in old.profiles},
        {d.settings.profile: d.settings for d in new.profiles},
    )


def compare_outcomes(cases: Sequence[Case], old: Sequence[Result], new: Sequence[Result]) -> Iterator[str]:
    """Yield one line for each case with another outcome."""
    for case, was, now in zip(cases, old, new, strict=True):
        before, after = _outcome(was), _outcome(now)
        if before != after:
            yield f"{case.settings.name!r} ({case.settings.connection}): {before} -> {after}"


def _outcome(result: Result) -> str:
    outcome = result.outcome
    if outcome is None:
        return "cannot be judged"
    by = f" by {outcome.rule}" if outcome.rule and outcome.effect != "allow" else ""
    return f"{outcome.effect}{by}"


def _named(what: str, old: Mapping[str, BaseModel], new: Mapping[str, BaseModel]) -> Iterator[str]:
    for name in [*old, *(n for n in new if n not in old)]:
        if name not in new:
            yield f"{what} {name} is gone"
        elif name not in old:
            yield f"{what} {name} is new"
        else:
            yield from _settings(f"{what} {name}", old[name], new[name])


def _settings(where: str, old: BaseModel, new: BaseModel) -> Iterator[str]:
    before, after = (_shown(s.model_dump(mode="json", by_alias=True)) for s in (old, new))
    for name in dict.fromkeys([*before, *after]):
        yield from _value(where, name, before.get(name), after.get(name))


def _shown(settings: dict[str, Any]) -> dict[str, Any]:
    """Return *settings* without passwords in the URLs of stores."""
    for name in ("limits", "state"):
        if isinstance(settings.get(name), str):
            settings[name] = re.sub(r"//[^@/]*@", "//***@", settings[name])
    return settings


def _value(where: str, name: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if name == "rules":
        yield from _rules(where, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        for item in old:
            if item not in new:
                yield f"{where}: {name} loses {written(_plain(item))}"
        for item in new:
            if item not in old:
                yield f"{where}: {name} gains {written(_plain(item))}"
        if all(item in new for item in old) and all(item in old for item in new):
            yield f"{where}: {name} has another order"
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _value(where, f"{name}.{key}", old.get(key), new.get(key))
    elif old is None:
        yield f"{where}: {name} is now {written(_plain(new))}"
    elif new is None:
        yield f"{where}: {name} is no longer set (it was {written(_plain(old))})"
    else:
        yield f"{where}: {name} was {written(_plain(old))} and is now {written(_plain(new))}"


def _rules(where: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[str]:
    before, after = ({rule["name"]: rule for rule in rules} for rules in (old, new))
    for name, rule in before.items():
        if name not in after:
            yield f"{where}: the rule {name} is gone: {_rule(rule)}"
    for name, rule in after.items():
        if name not in before:
            yield f"{where}: the rule {name} is new: {_rule(rule)}"
            continue
        was = before[name]
        if was["shadow"] != rule["shadow"]:
            yield f"{where}: the rule {name} is now {'only watched' if rule['shadow'] else 'enforced'}"
        for key in rule:
            if key not in ("name", "shadow") and was[key] != rule[key]:
                then, now = written(_plain(was[key])), written(_plain(rule[key]))
                yield f"{where}: the rule {name}: {key} was {then} and is now {now}"
    if list(before) != list(after) and set(before) == set(after):
        yield f"{where}: rules have another order"


def _rule(rule: dict[str, Any]) -> str:
    shadow = ", in shadow" if rule["shadow"] else ""
    return f"{rule['effect']} where {written(rule['when'])}{shadow}"


def _plain(value: Any) -> Any:
    """Return *value* without default values, for readers."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v not in (None, [], {}, "")}
    return [_plain(v) for v in value] if isinstance(value, list) else value
