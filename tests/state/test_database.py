"""Keys and revocations: shared by processes, never lost, never half written. If unreadable, access is refused."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.approvals.samples import window

from weir.approvals.model import Person
from weir.base.home import HomeError
from weir.base.principal import Principal
from weir.state import watcher
from weir.state.database import _SCHEMA, Database, NameTaken, key_digest
from weir.state.model import KEYS_ISSUER, KEYS_NAME, Snapshot
from weir.state.watcher import StateUnavailable, Watcher

NOW = time.time()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "state.db")
    yield opened
    opened.close()


def alice(issued: float = NOW, token_id: str = "t1", sid: str = "s1") -> Principal:
    return Principal("acme", "https://a.example", "alice", frozenset(), NOW + 600, issued, token_id, sid)


def revoked(database: Database, principal: Principal, session: str = "session") -> bool:
    return database.snapshot()[1].revoked(principal, session)


def test_nothing_is_revoked_at_first(database: Database) -> None:
    assert not revoked(database, alice()) and not Snapshot().revoked(alice(), "")


@pytest.mark.parametrize(
    ("kind", "iss", "value", "hits", "misses"),
    [
        ("jti", "https://a.example", "t1", alice(), alice(token_id="t2")),
        ("jti", "https://b.example", "t1", None, alice()),
        ("subject", "https://a.example", "alice", alice(NOW - 1), alice(NOW + 1)),
        ("subject", "https://b.example", "alice", None, alice()),
        ("subject", "https://b.example", "alice", None, alice(-30.0)),  # a token without its time of issue
        ("session", "", "s1", alice(), alice(sid="s2")),
        ("session", "", "", None, alice(sid="")),
    ],
)
def test_what_a_revocation_hits(
    kind: str, iss: str, value: str, hits: Principal | None, misses: Principal, database: Database
) -> None:
    revocation = database.revoke(kind, iss, value, NOW)  # type: ignore[arg-type]
    assert (hits is None or revoked(database, hits)) and not revoked(database, misses)
    assert database.lift(revocation.id) and not database.lift(revocation.id)
    assert hits is None or not revoked(database, hits)


def test_a_block_hits_what_is_issued_later_and_a_session_of_the_recordings_is_one(database: Database) -> None:
    database.revoke("subject", "https://a.example", "alice", NOW, block=True)
    database.revoke("subject", "https://a.example", "alice", NOW + 5)
    assert revoked(database, alice(NOW + 1e6))
    database.revoke("session", "", "mine~12345678", NOW)
    other = Principal("acme", "https://a.example", "bob", frozenset(), NOW + 600, NOW)
    assert revoked(database, other, "mine~12345678") and not revoked(database, other, "mine")


def test_keys(database: Database) -> None:
    key, text = database.create_key("ci", ("acme/search",), NOW + 60, NOW)
    assert text.startswith(f"weir_{key.id}_") and len(text) > 50
    with pytest.raises(NameTaken):
        database.create_key("ci", ("acme/search",), None, NOW)
    holder = Principal(KEYS_NAME, KEYS_ISSUER, "ci", frozenset(), NOW + 60, NOW, key.id)
    assert database.snapshot()[1].keys[key_digest(text)] == key and not revoked(database, holder)
    database.touch({key.id: NOW + 2})
    database.touch({key.id: NOW + 1, "gone": NOW})
    assert database.list_keys()[0].last_used == NOW + 2
    assert (
        text.encode() not in database.path.read_bytes()
        and text.split("_", 2)[2].encode() not in database.path.read_bytes()
    )
    generation = database.generation()
    assert database.revoke_key("ci", NOW) == 1 and database.revoke_key("ci", NOW) == 0
    assert database.generation() > generation and revoked(database, holder)
    assert database.snapshot()[1].keys == {} and database.list_keys()[0].revoked == NOW
    assert database.create_key("ci", ("acme/search",), None, NOW)[0].id != key.id


def test_processes_that_start_together_end_up_with_one_state(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from weir.state.database import Database\n"
        "d = Database(Path(sys.argv[1])); d.create_key(sys.argv[2], ('a/b',), None, time.time()); d.close()"
    )
    path = tmp_path / "state.db"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), f"key{i}"]) for i in range(8)]
    assert [process.wait(60) for process in processes] == [0] * 8
    database = Database(path)
    assert len(database.list_keys()) == 8 and path.stat().st_mode & 0o777 == 0o600
    database.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as the head of one" * 20, None])
def test_files_that_cannot_be_used(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    if content is None:
        Database(path).close()
        path.chmod(0o644)
        expected = "other users can read it; run: chmod 600"
    else:
        path.touch(0o600)
        path.write_bytes(content)
        expected = "restore it from a backup"
    with pytest.raises(HomeError, match=expected):
        Database(path)


def test_a_newer_format_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(HomeError, match="a newer weir wrote it"):
        Database(path)


def test_what_was_there_once_is_not_made_anew_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    first = Database(path)
    first.revoke("subject", "https://a.example", "alice", NOW, block=True)
    first.close()
    path.unlink()
    with pytest.raises(HomeError, match=r"it was removed; to start .* remove .*state\.db\.made too"):
        Database(path)
    assert not path.exists()
    path.with_name("state.db.made").unlink()
    Database(path).close()


def test_a_watcher_outlives_what_it_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_HOME", str(tmp_path))
    monkeypatch.setattr(watcher, "STALE", 0.6)

    async def story() -> None:
        database, watching, changes = Database(), Watcher(), asyncio.Event()
        database.create_key("ci", ("a/b",), None, NOW)
        watching.start(changes.set)
        watching.snapshot()
        with sqlite3.connect(database.path) as connection:
            connection.execute("UPDATE keys SET groups = 'not JSON'")
        async with asyncio.timeout(10):
            while True:
                try:
                    watching.snapshot()
                except StateUnavailable:
                    break
                await asyncio.sleep(0.02)
            connection.execute("UPDATE keys SET groups = '[]'")
            connection.commit()
            await changes.wait()
        watching.snapshot()
        connection.close()
        watching.stop()
        database.close()

    asyncio.run(story())


def test_a_watcher_that_has_read_nothing_lets_nobody_in() -> None:
    with pytest.raises(StateUnavailable):
        Watcher().snapshot()


def test_a_file_of_the_first_format_is_taken_over(tmp_path: Path) -> None:
    """Earlier keys and revocations are still there, and stops and windows can be added."""
    path = tmp_path / "state.db"
    before = sqlite3.connect(path)
    for statement in _SCHEMA[0].split(";\n"):
        before.execute(statement)
    before.execute(
        "INSERT INTO revocations (kind, iss, value, block, at, by, reason) VALUES ('jti', 'i', 'v', 0, 1, 'b', '')"
    )
    before.execute("PRAGMA user_version = 1")
    before.commit()
    before.close()
    path.chmod(0o600)
    after = Database(path)
    generation = after.generation()
    after.stop("connection", "", "reranker", 5.0, "wrong")
    assert [r.value for r in after.revocations()] == ["v"] and [s.reason for s in after.stops()] == ["wrong"]
    assert after.generation() > generation
    assert after.start("connection", "", "reranker") == 1 and after.start("connection", "", "reranker") == 0
    after.close()


def test_any_window_that_is_open_lets_in(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    whose, now = Person("acme", "i", "s"), time.time()
    for since, until in ((100.0, 200.0), (1000.0, 2000.0), (1500.0, 9000.0)):
        database.add_approval(window(whose, "c", now + since, now + until, f"{since}"), 9)
    database.add_approval(window(whose, "c", now - 900, now - 800, "over"), 9)
    _, snapshot = database.snapshot()
    database.close()
    principal = Principal("acme", "i", "s", frozenset(), expires=1e12)
    moments = (-850, 99, 150, 500, 1999, 2400, 2501)
    found = {at: snapshot.window(principal, "c", now + at, 1000.0, lambda _: True) is not None for at in moments}
    assert found == {-850: False, 99: False, 150: True, 500: False, 1999: True, 2400: True, 2501: False}
    assert snapshot.window(principal, "other", now + 150, 1000.0, lambda _: True) is None
    assert snapshot.window(principal, "c", now + 150, 1000.0, lambda _: False) is None
