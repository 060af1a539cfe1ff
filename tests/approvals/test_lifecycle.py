"""The life cycle of an approval: who may decide, which votes suffice, and that it is used once."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from tests.approvals.samples import ALICE, CAROL, LEADS, approval, person
from weir.approvals import lifecycle
from weir.approvals.lifecycle import NotPossible, Undecided
from weir.approvals.model import Approval, Demand, Person, Reviewers, Shown, Terms, Vote
from weir.approvals.people import Directory, compile_schedule
from weir.base.mistakes import SettingError
from weir.config.model import ScheduleSettings

DAVE, ERIN = person("dave", "leads"), person("erin", "security")


@dataclass
class _People:
    """All identities are people; those in ``linked`` are one person."""

    linked: tuple[tuple[str, str], ...] = ()
    machines: tuple[str, ...] = ("https://ci.example",)
    calls: dict[str, str] = field(default_factory=dict)

    def same(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        return one == other or (one in self.linked and other in self.linked)

    def human(self, person: Person) -> bool:
        return not person.machine and person.iss not in self.machines

    def on_call(self, schedule: str, at: float) -> str:
        return self.calls.get(schedule, "")


def said(by: Person, yes: bool = True, at: float = 1001.0, **more: Any) -> Vote:
    return Vote(by, yes, more.pop("reason", "because"), at, **more)


def decided(terms: Terms, *votes: Vote, people: _People | None = None, start: Approval | None = None) -> Approval:
    found = start or approval(terms=terms)
    for vote in votes:
        found = lifecycle.decide(found, vote, people or _People(), vote.at)
    return found


@pytest.mark.parametrize(
    ("terms", "votes", "state"),
    [
        (LEADS, [said(CAROL)], "approved"),
        (LEADS, [said(CAROL, yes=False)], "denied"),
        (Terms(reviewers=Reviewers(users=("acme/erin",))), [said(ERIN)], "approved"),
        (replace(LEADS, count=2), [said(CAROL)], "pending"),
        (replace(LEADS, count=2), [said(CAROL), said(DAVE)], "approved"),
        (replace(LEADS, count=2), [said(CAROL), said(DAVE, yes=False)], "denied"),
        (Terms(all_of=("acme/leads", "acme/security")), [said(CAROL)], "pending"),
        (Terms(all_of=("acme/leads", "acme/security")), [said(CAROL), said(DAVE)], "pending"),
        (Terms(all_of=("acme/leads", "acme/security")), [said(CAROL), said(ERIN)], "approved"),
        # One person in both groups is one person.
        (Terms(all_of=("acme/leads", "acme/security")), [said(person("both", "leads", "security"))], "pending"),
        (Terms(all_of=("acme/leads", "acme/security")), [said(person("both", "leads", "security")), said(CAROL)], "approved"),
        # Votes for all_of do not replace reviewers.
        (replace(LEADS, all_of=("acme/security", "acme/legal")), [said(ERIN), said(person("l", "legal"))], "pending"),
        (replace(LEADS, count=2, all_of=("acme/security",)), [said(ERIN), said(person("e2", "security"))], "pending"),
        (replace(LEADS, all_of=("acme/security",)), [said(ERIN), said(CAROL)], "approved"),
        (replace(LEADS, all_of=("acme/leads", "acme/security")), [said(ERIN), said(CAROL)], "approved"),
        (replace(LEADS, break_glass=("acme/sre",), count=3), [said(person("sam", "sre"), break_glass=True)], "approved"),
        (replace(LEADS, escalate_after=60, escalate_to=Reviewers(groups=("acme/heads",))), [said(person("h", "heads"), at=1061.0)], "approved"),
        (Terms(reviewers=Reviewers(on_call="search")), [said(DAVE)], "approved"),
    ],
)  # fmt: skip
def test_what_is_enough(terms: Terms, votes: list[Vote], state: str) -> None:
    assert decided(terms, *votes, people=_People(calls={"search": "acme/dave"})).state == state


@pytest.mark.parametrize(
    ("terms", "before", "vote", "why"),
    [
        (LEADS, [], said(person("mallory", "search")), "you are not one of its reviewers"),
        (LEADS, [], said(replace(ALICE, groups=("acme/leads",))), "nobody decides their own request"),
        (LEADS, [], said(person("alice2", "leads")), "nobody decides their own request"),  # the same human
        (LEADS, [], said(person("ci", "leads", issuer="ci")), "only people decide"),
        (LEADS, [said(CAROL)], said(DAVE), "it is approved already, by acme/carol"),
        (LEADS, [said(CAROL, yes=False)], said(DAVE), "it is denied already, by acme/carol"),
        (LEADS, [], said(CAROL, at=99999.0), "it is expired already"),
        (replace(LEADS, count=2), [said(CAROL)], said(CAROL), "you have already cast this vote"),
        (LEADS, [], said(CAROL, break_glass=True), "you are not one of its reviewers"),
        (replace(LEADS, break_glass=("acme/sre",)), [], said(person("s", "sre"), reason="", break_glass=True), "with a reason"),
        (replace(LEADS, break_glass=("acme/sre",)), [], said(person("s", "sre")), "you are not one of its reviewers"),
        (replace(LEADS, break_glass=("acme/sre",)), [], said(replace(ALICE, groups=("acme/sre",)), break_glass=True), "nobody decides their own request"),
        (replace(LEADS, escalate_after=60, escalate_to=Reviewers(groups=("acme/heads",))), [], said(person("h", "heads"), at=1059.0), "you are not one of its reviewers"),
        (Terms(reviewers=Reviewers(on_call="search")), [], said(CAROL), "you are not one of its reviewers"),
        (Terms(reviewers=Reviewers(on_call="unknown")), [], said(DAVE), "you are not one of its reviewers"),
    ],
)  # fmt: skip
def test_who_may_not_decide(terms: Terms, before: list[Vote], vote: Vote, why: str) -> None:
    people = _People(linked=(ALICE.key, person("alice2").key), calls={"search": "acme/dave"})
    found = decided(terms, *before, people=people)
    with pytest.raises(NotPossible, match=why):
        lifecycle.decide(found, vote, people, vote.at)


def test_two_identities_of_one_human_are_one_vote() -> None:
    people = _People(linked=(CAROL.key, person("carol-admin").key))
    terms = replace(LEADS, count=2)
    found = decided(terms, said(CAROL), people=people)
    with pytest.raises(NotPossible, match="already cast this vote"):
        lifecycle.decide(found, said(person("carol-admin", "leads")), people, 1001.0)
    assert lifecycle.needs(found, people) == "1 of acme/leads"


def test_every_rule_that_asks_has_its_own_quorum() -> None:
    demands = (
        Demand("wide", "d1", "", LEADS),
        Demand("writes", "d2", "", Terms(reviewers=Reviewers(groups=("acme/security",)))),
    )
    found = decided(LEADS, said(CAROL), start=approval(demands=demands))
    assert found.state == "pending" and lifecycle.needs(found, _People()) == "1 of acme/security"
    assert decided(LEADS, said(ERIN), start=found).state == "approved"


def take(found: Approval, request: str = "r-2", **more: Any) -> Approval:
    settings: dict[str, Any] = {
        "digests": frozenset(("digest",)), "content": "", "now": 1002.0, "people": _People(), "current": lambda v: v,
    }  # fmt: skip
    return lifecycle.take(found, request, **{**settings, **more})


def test_it_is_used_once_and_given_back_only_by_whom_it_was_used() -> None:
    used = take(decided(LEADS, said(CAROL)))
    assert (used.state, used.used_by) == ("used", "r-2")
    with pytest.raises(NotPossible, match="it is used"):
        take(used, "r-3")
    assert lifecycle.give_back(used, "r-3") is None
    again = lifecycle.give_back(used, "r-2")
    assert again is not None and take(again, "r-3").used_by == "r-3"


@pytest.mark.parametrize(
    ("more", "error", "why"),
    [
        ({"digests": frozenset(("another",))}, NotPossible, "the rule that requires it has changed"),
        ({"digests": frozenset(("digest", "more"))}, NotPossible, "the rule that requires it has changed"),
        ({"content": "other"}, NotPossible, "it belongs to another response"),
        ({"now": 1001.0 + LEADS.expires}, NotPossible, "it has expired"),
        ({"current": lambda vote: None}, Undecided, "may no longer approve it"),
        (
            {"current": lambda vote: replace(vote, by=replace(vote.by, groups=()))},
            Undecided,
            "may no longer approve it",
        ),
    ],
)
def test_what_is_not_released(more: dict[str, Any], error: type[NotPossible], why: str) -> None:
    with pytest.raises(error, match=why):
        take(decided(LEADS, said(CAROL)), **more)


def test_who_turns_out_to_be_the_requester_or_a_machine_has_not_approved() -> None:
    approved = decided(LEADS, said(CAROL))
    for people in (_People(linked=(ALICE.key, CAROL.key)), _People(machines=(CAROL.iss,))):
        with pytest.raises(Undecided):
            take(approved, people=people)


def test_a_client_does_not_decide_and_two_entries_of_an_issuer_are_one_person() -> None:
    with pytest.raises(NotPossible, match="only people decide"):
        decided(LEADS, said(replace(CAROL, machine=True)))
    with pytest.raises(NotPossible, match="their own request"):
        decided(LEADS, said(replace(ALICE, issuer="acme-apps", groups=("acme/leads",))))


def test_what_nobody_decided_is_kept_in_brief() -> None:
    shown = Shown(operation="write", path="/docs/_doc/1", body="x" * 60_000, query=("q",))
    found = lifecycle.expire(approval(shown=shown), 1e9)
    assert found is not None and found.shown == Shown(operation="write", path="/docs/_doc/1")


def test_another_request_does_not_take_what_somebody_waits_for() -> None:
    waited = lifecycle.hold(approval(), "r-1", 1060.0, 1000.0)
    with pytest.raises(NotPossible, match="another request waits"):
        lifecycle.hold(waited, "r-2", 1060.0, 1001.0)
    found = decided(LEADS, said(CAROL), start=waited)
    with pytest.raises(NotPossible, match="another request waits"):
        take(found, "r-2")
    assert take(found, "r-1").state == "used"
    assert take(found, "r-2", now=1060.0).state == "used"  # the request that waited has not returned
    let_go = lifecycle.let_go(waited, "r-1")
    assert let_go is not None and lifecycle.hold(let_go, "r-2", 1060.0, 1001.0).holder == "r-2"


def test_who_leaves_withdraws_only_their_own() -> None:
    waited = lifecycle.hold(approval(), "r-1", 1060.0, 1000.0)
    assert lifecycle.withdraw(waited, "r-2", 1001.0) is None
    gone = lifecycle.withdraw(waited, "r-1", 1001.0)
    assert gone is not None and gone.state == "withdrawn"
    with pytest.raises(NotPossible, match="it is withdrawn already"):
        lifecycle.decide(gone, said(CAROL), _People(), 1001.0)


def test_what_is_given_for_a_while_ends_by_itself_or_sooner() -> None:
    asked = approval(kind="access", seconds=600, binding="")
    given = decided(LEADS, said(CAROL), start=asked)
    assert (given.state, given.since, given.until) == ("approved", 1001.0, 1601.0)
    assert lifecycle.expire(given, 1e9) is None  # access ends separately
    ended = lifecycle.revoke(given, 1100.0)
    assert (ended.state, ended.until) == ("revoked", 1100.0)
    with pytest.raises(NotPossible):
        lifecycle.revoke(ended, 1200.0)
    with pytest.raises(NotPossible):
        lifecycle.revoke(given, 1601.0)
    reused = decided(replace(LEADS, reuse=1800), said(CAROL))
    assert (reused.since, reused.until, reused.standing) == (1001.0, 2801.0, True)


# The user on call.


def schedule(**more: Any) -> Any:
    settings = {
        "version": 1,
        "timezone": "Europe/Berlin",
        "starts": "2026-03-23 09:00",
        "rotation": ["a/x", "a/y"],
        **more,
    }
    return compile_schedule(ScheduleSettings.model_validate(settings), str)


@pytest.mark.parametrize(
    ("at", "who"),
    [
        ("2026-03-23T08:59:59+01:00", ""),
        ("2026-03-23T09:00:00+01:00", "a/x"),
        ("2026-03-29T23:00:00+02:00", "a/x"),  # clocks went forward that morning
        ("2026-03-30T08:59:59+02:00", "a/x"),
        ("2026-03-30T09:00:00+02:00", "a/y"),
        ("2026-04-06T09:00:00+02:00", "a/x"),
        ("2026-10-26T08:59:59+01:00", "a/x"),  # and back
        ("2026-10-26T09:00:00+01:00", "a/y"),
    ],
)
def test_a_turn_ends_at_the_same_hour_all_year(at: str, who: str) -> None:
    from datetime import datetime

    assert schedule().on_call(datetime.fromisoformat(at).timestamp()) == who


def test_overrides() -> None:
    from datetime import datetime

    found = schedule(overrides=[{"from": "2026-03-24 12:00", "until": "2026-03-25 12:00", "user": "a/z"}])
    noon = datetime.fromisoformat("2026-03-25T12:00+01:00").timestamp()
    assert (found.on_call(noon - 1), found.on_call(noon)) == ("a/z", "a/x")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"timezone": "Mars"}, "is not a time zone"),
        ({"starts": "soon"}, "is not a time; write e.g. 2026-01-05 09:00"),
        ({"starts": "2026-01-05T09:00+01:00"}, "write it in local time"),
        ({"overrides": [{"from": "2026-01-02", "until": "2026-01-01", "user": "a"}]}, "it ends before it begins"),
    ],
)
def test_schedules_that_cannot_be(more: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        schedule(**more)


def test_the_directory_knows_who_is_one_and_who_is_none() -> None:
    directory = Directory(
        {("i", "a"): 0, ("k", "b"): 0, ("i", "c"): 1}, frozenset(("urn:weir:keys",)), {"s": schedule()}
    )
    assert directory.same(("i", "a"), ("k", "b")) and directory.same(("x", "y"), ("x", "y"))
    assert not directory.same(("i", "a"), ("i", "c")) and not directory.same(("x", "y"), ("x", "z"))
    assert directory.human(Person("i", "i", "a")) and not directory.human(Person("keys", "urn:weir:keys", "a"))
    assert not directory.human(Person("i", "i", "a", machine=True))
    assert directory.on_call("none", 0.0) == ""
