"""Compile a rule's terms of approval: its own settings, else the connection's. Pure."""

from collections.abc import Callable, Collection, Iterable, Sequence

from weir.approvals.model import Reviewers, Terms
from weir.base.duration import seconds
from weir.base.mistakes import SettingError, placed
from weir.config.model import ApprovalSettings, OnRequestSettings, ReviewersSettings

Resolve = Callable[[str], str]

#: Maximum seconds that a request is held, because it occupies a place in limits.
MOST_HOLD = 600
_MOST_EXPIRES = 7 * 86400


def compile_terms(
    own: ApprovalSettings | None,
    common: ApprovalSettings | None,
    resolve: Resolve,
    schedules: Collection[str],
    facts: Iterable[str],
    known_facts: Collection[str],
) -> Terms:
    """Merge *own* with *common* and the defaults, and compile them; *facts* are the facts that the rule names.

    Raises `SettingError`, placed in *own*, because *common* was compiled before and has no mistakes.
    """
    settings = ApprovalSettings(**{
        name: getattr(level, name)
        for level in (common, own)
        if level is not None
        for name in level.model_fields_set
    })  # fmt: skip
    hold = _duration(settings.hold, 60, "hold", MOST_HOLD)
    expires = _duration(settings.expires, 3600, "expires", _MOST_EXPIRES)
    reviewers = Reviewers()
    all_of: tuple[str, ...] = ()
    if settings.reviewers is not None:
        with placed("reviewers"):
            reviewers = compile_reviewers(settings.reviewers, resolve, schedules)
    if settings.all_of is not None:
        all_of = _resolved(settings.all_of, resolve, "all_of")
    after, to = 0, Reviewers()
    if settings.escalate is not None:
        with placed("escalate"):
            after = _duration(settings.escalate.after, 0, "after", _MOST_EXPIRES)
            with placed("to"):
                to = compile_reviewers(settings.escalate.to, resolve, schedules)
        if after >= expires:
            raise SettingError("must be shorter than `expires`", "escalate", "after")
    reuse = 0
    same: tuple[str, ...] = ()
    if settings.reuse is not None:
        reuse = _duration(settings.reuse.for_, 0, "reuse", 30 * 86400)
        same = tuple(dict.fromkeys(facts if settings.reuse.same is None else settings.reuse.same))
        for name in settings.reuse.same or ():
            if name not in known_facts:
                raise SettingError(f"{name!r} is not a fact of a request", "reuse", "same")
    return Terms(
        reviewers=reviewers,
        count=settings.count or 1,
        all_of=all_of,
        hold=min(hold, expires),
        expires=expires,
        escalate_after=after,
        escalate_to=to,
        break_glass=_resolved(settings.break_glass or (), resolve, "break_glass"),
        reuse=reuse,
        same=same,
    )


def compile_window(settings: OnRequestSettings, resolve: Resolve, schedules: Collection[str]) -> Terms:
    """Compile the reviewers of temporary access. Raises `SettingError`."""
    with placed("reviewers"):
        reviewers = compile_reviewers(settings.reviewers, resolve, schedules)
    return Terms(reviewers=reviewers, count=settings.count, expires=86400)


def compile_reviewers(settings: ReviewersSettings, resolve: Resolve, schedules: Collection[str]) -> Reviewers:
    """Compile *settings*, with complete names. Raises `SettingError`."""
    if settings.on_call is not None and settings.on_call not in schedules:
        known = f"; there are {', '.join(sorted(schedules))}" if schedules else ""
        message = f"there is no schedules/{settings.on_call}.yaml beside the connections{known}"
        raise SettingError(message, "on_call")
    return Reviewers(
        _resolved(settings.groups, resolve, "groups"),
        _resolved(settings.users, resolve, "users"),
        settings.on_call or "",
    )


def _resolved(names: Sequence[str], resolve: Resolve, where: str) -> tuple[str, ...]:
    found = []
    for i, name in enumerate(names):
        with placed(where, i):
            found.append(resolve(name))
    return tuple(dict.fromkeys(found))


def _duration(text: str | None, default: int, name: str, most: int) -> int:
    if text is None:
        return default
    try:
        found = seconds(text)
    except ValueError as error:
        raise SettingError(str(error), name) from None
    if found > most:
        raise SettingError(f"{text} is too long; at most {most} seconds", name)
    return found
