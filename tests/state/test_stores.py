"""One suite for all stores of the shared state: SQLite, and a real Redis."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests import needs
from tests.approvals.samples import ALICE, CAROL, approval, person, window
from tests.end_to_end.gateway import free_port
from tests.processes import PATIENCE

from weir.approvals import lifecycle
from weir.approvals.lifecycle import NotPossible
from weir.approvals.model import Approval, Vote
from weir.approvals.people import Directory
from weir.base.home import HomeError
from weir.state.database import Database, NameTaken, TooManyOpen
from weir.state.model import Letter
from weir.state.redis_database import RedisDatabase, StoreDown
from weir.state.store import Store

Open = Callable[[], Store]


def start_redis(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """Start a durable Redis, as the README requires."""
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes",
         "--appendfsync", "always", "--save", ""],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(HomeError):
            RedisDatabase(f"redis://127.0.0.1:{port}/9").close()
            return process
        assert time.monotonic() < deadline, "redis-server did not start"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    needs.skip_without("redis-server")
    port = free_port()
    process = start_redis(tmp_path_factory.mktemp("redis"), port)
    yield port
    process.terminate()
    process.wait()


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens the same store each time."""
    stores: list[Store] = []
    if request.param == "redis":
        from redis import Redis

        url = f"redis://127.0.0.1:{request.getfixturevalue('redis')}/0"
        with Redis.from_url(url) as client:
            client.flushdb()

    def open_one() -> Store:
        store: Store = RedisDatabase(url) if request.param == "redis" else Database(tmp_path / "state.db")
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> Store:
    return opened()


NOW = time.time()


def asked(approval_id: str = "a-1", **more: object) -> Approval:
    return approval(approval_id, now=NOW, **more)


def vote(store: Store, approval_id: str, by: object = CAROL, yes: bool = True) -> Approval:
    said = Vote(by, yes, "because", NOW + 1)  # type: ignore[arg-type]
    return store.change_approval(approval_id, lambda a: lifecycle.decide(a, said, Directory(), NOW + 1))


def test_keys(store: Store) -> None:
    generation = store.generation()
    key, text = store.create_key("ci", ("acme/search",), None, NOW)
    assert text.startswith("weir_") and store.generation() > generation
    with pytest.raises(NameTaken):
        store.create_key("ci", (), None, NOW)
    store.touch({key.id: NOW + 5})
    assert [(k.name, k.groups, k.last_used) for k in store.list_keys()] == [("ci", ("acme/search",), NOW + 5)]
    from weir.state.database import key_digest

    assert store.snapshot()[1].keys[key_digest(text)].name == "ci"
    assert store.revoke_key("ci", NOW + 6) == 1 and store.revoke_key("ci", NOW + 6) == 0
    assert store.snapshot()[1].keys == {} and store.list_keys()[0].revoked == NOW + 6
    store.create_key("ci", (), None, NOW)  # the name is free again


def test_revocations_and_stops(store: Store) -> None:
    first = store.revoke("subject", "i", "alice", NOW, block=True, reason="stolen")
    store.revoke("jti", "i", "t-1", NOW)
    store.revoke("session", "", "s-1", NOW)
    generation, snapshot = store.snapshot()
    assert snapshot.tokens == {("i", "t-1")} and snapshot.sessions == {"s-1"}
    assert snapshot.subjects == {("i", "alice"): float("inf")}
    assert store.lift(first.id) and not store.lift(first.id)
    assert [r.value for r in store.revocations()] == ["t-1", "s-1"] and store.generation() > generation
    store.stop("connection", "", "reranker", NOW, "wrong")
    store.stop("connection", "", "reranker", NOW, "still wrong")
    store.stop("all", "", "", NOW, "incident")
    assert [s.reason for s in store.snapshot()[1].stops] == ["wrong", "still wrong", "incident"]
    assert store.start("connection", "", "reranker") == 2 and store.start("connection", "", "reranker") == 0
    assert [s.scope for s in store.stops()] == ["all"]


def test_an_approval_from_asked_to_used(opened: Open) -> None:
    store, other = opened(), opened()
    added = store.add_approval(asked(), 5)
    assert other.approval("a-1") == added and other.approval("a-2") is None
    assert [a.id for a in other.approvals_in("pending")] == ["a-1"]
    assert [a.id for a in other.approvals_of("binding of a-1")] == ["a-1"] and other.approvals_of("x") == []
    approved = vote(other, "a-1")
    assert approved.state == "approved" and approved.changed > added.changed
    assert store.approvals_in("pending") == [] and store.approvals_in("approved") == [approved]
    assert [a.id for a in store.approvals_after(added.changed)] == ["a-1"]
    assert store.approvals_after(approved.changed) == [] and store.last_change() == approved.changed
    with pytest.raises(KeyError):
        vote(store, "a-2")
    assert store.change_approval("a-1", lambda a: None) == approved
    with pytest.raises(NotPossible):
        vote(store, "a-1")
    assert store.approval("a-1") == approved


def test_one_principal_asks_for_so_many(store: Store) -> None:
    for n in range(3):
        store.add_approval(asked(f"a-{n}"), 3)
    with pytest.raises(TooManyOpen):
        store.add_approval(asked("a-3"), 3)
    store.add_approval(asked("b-1", requester=person("bob")), 3)
    vote(store, "a-0")
    store.add_approval(asked("a-3"), 3)
    late = replace(asked("a-4"), asked=NOW + 9999.0)  # by then the earlier ones have expired
    assert store.add_approval(late, 1).id == "a-4"


def test_what_is_given_for_a_while_is_in_the_snapshot(store: Store) -> None:
    generation = store.generation()
    store.add_approval(window(ALICE, "reranker", NOW, NOW + 9999), 9)
    assert store.generation() > generation
    windows = store.snapshot()[1].windows[(*ALICE.key, "reranker")]
    assert [(w.id, w.until, w.decided_by()) for w in windows] == [("w-1", NOW + 9999, "acme/lead")]
    store.change_approval("w-1", lambda a: lifecycle.revoke(a, NOW + 1))
    assert store.snapshot()[1].windows == {}


def test_two_decide_at_the_same_instant_and_there_is_one_outcome(opened: Open) -> None:
    """A thousand times: one approves and another denies, each over its own connection."""
    tries = 1000
    first, second = opened(), opened()
    for n in range(tries):
        first.add_approval(asked(f"a-{n}"), tries + 1)
    outcomes: dict[str, list[str]] = {f"a-{n}": [] for n in range(tries)}
    together = threading.Barrier(2)

    def decide(store: Store, by: object, yes: bool) -> None:
        for n in range(tries):
            together.wait()
            with contextlib.suppress(NotPossible):
                outcomes[f"a-{n}"].append(vote(store, f"a-{n}", by, yes).state)

    threads = [
        threading.Thread(target=decide, args=(first, CAROL, True)),
        threading.Thread(target=decide, args=(second, person("dave", "leads"), False)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(found) == 1 for found in outcomes.values())
    assert {found[0] for found in outcomes.values()} <= {"approved", "denied"}
    for n in range(tries):
        stored = first.approval(f"a-{n}")
        assert stored is not None and [stored.state] == outcomes[f"a-{n}"] and len(stored.votes) == 1


def test_many_take_the_same_and_one_has_it(opened: Open) -> None:
    stores = [opened() for _ in range(4)]
    stores[0].add_approval(asked(), 5)
    vote(stores[0], "a-1")
    taken: list[int] = []
    together = threading.Barrier(len(stores))

    def take(n: int) -> None:
        together.wait()
        with contextlib.suppress(NotPossible):
            stores[n].change_approval(
                "a-1",
                lambda a: lifecycle.take(a, f"r-{n}", a.digests, "", NOW + 2, Directory(), lambda v: v),
            )
            taken.append(n)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = stores[0].approval("a-1")
    assert len(taken) == 1 and found is not None and found.used_by == f"r-{taken[0]}"


def test_what_is_over_is_forgotten_in_the_end(store: Store) -> None:
    store.add_approval(asked("open"), 5)
    store.add_approval(asked("over"), 5)
    store.add_approval(window(ALICE, "c", NOW, NOW + 9999), 5)
    vote(store, "over", yes=False)
    store.forget_approvals(NOW)
    assert store.approval("over") is not None
    store.forget_approvals(NOW + 5000)
    assert store.approval("over") is None and store.approvals_of("binding of over") == []
    assert store.approval("open") is not None and store.approval("w-1") is not None


def test_a_former_group_counts_no_more(store: Store) -> None:
    assert store.known_groups(CAROL.key) is None
    assert store.know_reviewer(person("carol", "leads", issued=10.0)) == ("acme/leads",)
    assert store.know_reviewer(person("carol", issued=20.0)) == ()
    assert store.know_reviewer(person("carol", "leads", issued=10.0)) == ()  # an older token
    assert store.known_groups(CAROL.key) == ()


def test_letters_are_sent_once(store: Store) -> None:
    letters = [Letter(f"l-{n}", "hook", "asked", "a-1", due=NOW) for n in range(2)]
    store.post(letters)
    store.post(letters)
    found = store.due_letters(NOW, 60)
    assert sorted(x.id for x in found) == ["l-0", "l-1"] and store.due_letters(NOW + 59, 60) == []
    first, second = sorted(found, key=lambda x: x.id)
    store.letter_tried(first, None)
    store.letter_tried(second, NOW + 5, "it answered 500")
    again = store.due_letters(NOW + 5, 60)
    assert [(x.id, x.attempts, x.error) for x in again] == [("l-1", 1, "it answered 500")]
    store.letter_tried(again[0], None, "it answered 500", dead=True)
    store.post(letters)
    assert store.due_letters(NOW + 9999, 60) == []
    assert [(x.id, x.dead, x.attempts) for x in store.dead_letters()] == [("l-1", True, 2)]


def test_others_hear_of_changes(opened: Open) -> None:
    watching, other = opened(), opened()
    woken = threading.Event()
    pace = watching.watch(woken.set)
    watching.looks_changed()
    deadline = time.monotonic() + PATIENCE
    while True:  # Redis's stream is read from when its thread has begun
        other.add_approval(asked(f"a-{time.monotonic_ns()}"), 1000)
        if woken.wait(pace) or (isinstance(watching, Database) and watching.looks_changed()):
            break
        assert time.monotonic() < deadline


def test_a_redis_that_is_gone_says_so(tmp_path: Path) -> None:
    needs.skip_without("redis-server")
    port = free_port()
    process = start_redis(tmp_path, port)
    store = RedisDatabase(f"redis://127.0.0.1:{port}/0")
    process.kill()
    process.wait()
    with pytest.raises(StoreDown, match="ConnectionError"):
        store.snapshot()
    with pytest.raises(HomeError, match="start it, or change"):
        RedisDatabase(f"redis://127.0.0.1:{port}/0")
    store.close()


def test_machines_with_different_master_keys_do_not_share(
    redis: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RedisDatabase(f"redis://127.0.0.1:{redis}/3").close()
    monkeypatch.setenv("WEIR_HOME", str(tmp_path / "another"))
    with pytest.raises(HomeError, match=r"master\.key differs .* copy theirs"):
        RedisDatabase(f"redis://127.0.0.1:{redis}/3")
