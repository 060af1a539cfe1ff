"""The SQLite file of the shared state: API keys, revocations, stops and approvals.

Workers, the admin process and the command share ``state.db`` in WEIR_HOME. It uses WAL, so readers never wait for
writers. Every change raises a generation number in the same transaction; workers poll it to notice changes. All methods
block: call them from the command or from each worker's state thread, never on the event loop.
"""

import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from weir.approvals.model import Approval, Person, State, decode_approval, encode_approval
from weir.base.home import HomeError, home, operator_name
from weir.state.model import ApiKey, Letter, Revocation, RevocationKind, Snapshot, Stop, StopScope, snapshot_of
from weir.state.sqlite import patiently

FILE = "state.db"
#: Prefix of every API key: secret scanners find it, and the gateway tells keys from other tokens by it.
KEY_PREFIX = "weir_"
#: Seconds to wait for another process's write.
_BUSY = 2.0

#: What each version of the format adds to the one before.
_SCHEMA = (
    """
CREATE TABLE generation (value INTEGER NOT NULL);
INSERT INTO generation VALUES (1);
CREATE TABLE keys (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL UNIQUE, groups TEXT NOT NULL,
  created REAL NOT NULL, created_by TEXT NOT NULL, expires REAL, revoked REAL, revoked_by TEXT
) STRICT;
CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked IS NULL;
CREATE TABLE key_uses (id TEXT PRIMARY KEY, last_used REAL NOT NULL) STRICT;
CREATE TABLE revocations (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, iss TEXT NOT NULL, value TEXT NOT NULL,
  block INTEGER NOT NULL, at REAL NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
""",
    """
CREATE TABLE stops (
  id INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, iss TEXT NOT NULL, value TEXT NOT NULL,
  at REAL NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE access_windows (
  id INTEGER PRIMARY KEY AUTOINCREMENT, iss TEXT NOT NULL, sub TEXT NOT NULL, connection TEXT NOT NULL,
  since REAL NOT NULL, until REAL NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
""",
    """
DROP TABLE access_windows;
CREATE TABLE approvals (
  id TEXT PRIMARY KEY, changed INTEGER NOT NULL, state TEXT NOT NULL, binding TEXT NOT NULL,
  iss TEXT NOT NULL, sub TEXT NOT NULL, expires REAL NOT NULL, standing INTEGER NOT NULL, until REAL NOT NULL,
  document BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX approvals_changed ON approvals (changed);
CREATE INDEX approvals_binding ON approvals (binding);
CREATE INDEX approvals_state ON approvals (state, iss, sub);
CREATE TABLE approval_changes (value INTEGER NOT NULL);
INSERT INTO approval_changes VALUES (0);
CREATE TABLE reviewers (
  iss TEXT NOT NULL, sub TEXT NOT NULL, groups TEXT NOT NULL, issued REAL NOT NULL, PRIMARY KEY (iss, sub)
) STRICT;
CREATE TABLE letters (
  id TEXT PRIMARY KEY, hook TEXT NOT NULL, event TEXT NOT NULL, approval TEXT NOT NULL,
  attempts INTEGER NOT NULL, due REAL, error TEXT NOT NULL, dead INTEGER NOT NULL
) STRICT;
""",
)
_VERSION = len(_SCHEMA)
#: For each version, the tables that raise the generation when they change.
_WATCHED: tuple[tuple[str, ...], ...] = (("keys", "revocations"), ("stops", "access_windows"), ())


_CHANGES = ("INSERT", "UPDATE", "DELETE")


def _trigger(table: str, change: str) -> str:
    return (
        f"CREATE TRIGGER {table}_{change} AFTER {change} ON {table} "  # noqa: S608
        "BEGIN UPDATE generation SET value = value + 1; END"
    )


#: Seconds between two checks for changes while a request waits for one.
WATCH = 0.02

#: Returns the approval after a change, or None to leave it unchanged.
Step = Callable[[Approval], Approval | None]


class NameTaken(ValueError):
    """An API key with this name exists and is not revoked."""


class TooManyOpen(ValueError):
    """A principal has too many open approvals."""


class Database:
    """One connection to the shared state. Raises `HomeError` if the file cannot be opened or has another format."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or home() / FILE
        try:
            self._connection, inode = _open(self.path)
        except (sqlite3.Error, OSError) as error:
            message = f"{self.path}: cannot be used ({error}); restore it from a backup, or set WEIR_HOME"
            raise HomeError(message) from None
        self._version = -1
        self._inode: tuple[int, int] | None = inode

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._inode = None

    def replaced(self) -> bool:
        """True if this is closed, or if the file was removed or replaced since it was opened."""
        try:
            return _inode(self.path) != self._inode
        except OSError:
            return True

    def reopen(self) -> "Database":
        """Open the file that exists now. Raises `HomeError` if none exists."""
        if not self.path.is_file():
            raise HomeError(f"{self.path} was removed; restore it")
        return Database(self.path)

    def generation(self) -> int:
        """Return a number that grows with every change. Raises sqlite3.Error."""
        (value,) = self._connection.execute("SELECT value FROM generation").fetchone()
        return int(value)

    def snapshot(self) -> tuple[int, Snapshot]:
        """Read the generation and the state that requests are judged by in one transaction. Raises sqlite3.Error."""
        with self._transaction(immediate=False):
            generation = self.generation()
            digests = self._connection.execute("SELECT id, digest FROM keys WHERE revoked IS NULL").fetchall()
            keys = {key.id: key for key in self.list_keys()}
            revocations = self.revocations()
            stops = self.stops()
            standing = self._approvals("standing AND state IN ('approved', 'used') AND until > ?", time.time())
            known = self._connection.execute("SELECT iss, sub, groups FROM reviewers").fetchall()
        groups = {(iss, sub): tuple(json.loads(found)) for iss, sub, found in known}
        by_digest = {digest: keys[id_] for id_, digest in digests}
        return generation, snapshot_of(by_digest, revocations, stops, standing, groups)

    # API keys.

    def create_key(self, name: str, groups: tuple[str, ...], expires: float | None, now: float) -> tuple[ApiKey, str]:
        """Create a key. Return it and its text, which is not stored. Raises `NameTaken`."""
        key_id = secrets.token_hex(5)
        text = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(key_id, name, groups, now, operator_name(), expires)
        try:
            with self._transaction():
                self._connection.execute(
                    "INSERT INTO keys (id, name, digest, groups, created, created_by, expires) VALUES (?,?,?,?,?,?,?)",
                    (key_id, name, key_digest(text), json.dumps(groups), now, key.created_by, expires),
                )
        except sqlite3.IntegrityError:
            raise NameTaken(name) from None
        return key, text

    def list_keys(self) -> list[ApiKey]:
        """Return all keys, including revoked ones, oldest first."""
        rows = self._connection.execute(
            "SELECT k.id, name, groups, created, created_by, expires, revoked, last_used "
            "FROM keys k LEFT JOIN key_uses u ON u.id = k.id ORDER BY created"
        )
        return [ApiKey(id_, name, tuple(json.loads(groups)), *rest) for id_, name, groups, *rest in rows]

    def revoke_key(self, name: str, now: float) -> int:
        """Revoke the keys with this name or id. Return how many were revoked."""
        with self._transaction():
            return self._connection.execute(
                "UPDATE keys SET revoked = ?, revoked_by = ? WHERE revoked IS NULL AND (name = ? OR id = ?)",
                (now, operator_name(), name, name),
            ).rowcount

    def touch(self, used: Mapping[str, float]) -> None:
        """Store when keys were last used (Unix time by key id)."""
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO key_uses VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET last_used = "
                "max(last_used, excluded.last_used)",
                used.items(),
            )

    # Revocations.

    def revoke(
        self, kind: RevocationKind, iss: str, value: str, now: float, *, block: bool = False, reason: str = ""
    ) -> Revocation:
        """Add a revocation. Matching tokens are refused from now on."""
        who = operator_name()
        with self._transaction():
            cursor = self._connection.execute(
                "INSERT INTO revocations (kind, iss, value, block, at, by, reason) VALUES (?,?,?,?,?,?,?)",
                (kind, iss, value, block, now, who, reason),
            )
        return Revocation(int(cursor.lastrowid or 0), kind, iss, value, block, now, who, reason)

    def revocations(self) -> list[Revocation]:
        """Return all active revocations, oldest first."""
        rows = self._connection.execute(
            "SELECT id, kind, iss, value, block, at, by, reason FROM revocations ORDER BY id"
        )
        return [Revocation(i, kind, iss, value, bool(block), *rest) for i, kind, iss, value, block, *rest in rows]

    def lift(self, revocation: int) -> bool:
        """Remove a revocation. Return True if there was one with this number."""
        with self._transaction():
            return self._connection.execute("DELETE FROM revocations WHERE id = ?", (revocation,)).rowcount > 0

    # Emergency stops.

    def stop(self, scope: StopScope, iss: str, value: str, now: float, reason: str) -> Stop:
        """Add an emergency stop. Matching requests are refused from now on."""
        who = operator_name()
        with self._transaction():
            cursor = self._connection.execute(
                "INSERT INTO stops (scope, iss, value, at, by, reason) VALUES (?,?,?,?,?,?)",
                (scope, iss, value, now, who, reason),
            )
        return Stop(int(cursor.lastrowid or 0), scope, iss, value, now, who, reason)

    def stops(self) -> list[Stop]:
        """Return all active stops, oldest first."""
        rows = self._connection.execute("SELECT id, scope, iss, value, at, by, reason FROM stops ORDER BY id")
        return [Stop(*row) for row in rows]

    def start(self, scope: StopScope, iss: str, value: str) -> int:
        """Remove the stops with this scope and value. Return how many were removed."""
        with self._transaction():
            return self._connection.execute(
                "DELETE FROM stops WHERE scope = ? AND iss = ? AND value = ?", (scope, iss, value)
            ).rowcount

    # Approvals.

    def add_approval(self, approval: Approval, most: int) -> Approval:
        """Store a new approval. Raises `TooManyOpen` if its requester already has *most* that are pending."""
        with self._transaction():
            iss, sub = approval.requester.key
            (count,) = self._connection.execute(
                "SELECT count(*) FROM approvals WHERE state = 'pending' AND iss = ? AND sub = ? AND expires > ?",
                (iss, sub, approval.asked),
            ).fetchone()
            if count >= most:
                raise TooManyOpen
            return self._put(approval)

    def change_approval(self, approval_id: str, step: Step) -> Approval:
        """Apply *step* to the stored approval. Return the result. Raises KeyError, and any error of *step*."""
        with self._transaction():
            before = self.approval(approval_id)
            if before is None:
                raise KeyError(approval_id)
            after = step(before)
            return before if after is None else self._put(after)

    def approval(self, approval_id: str) -> Approval | None:
        """Return the approval with this id, or None."""
        return next(iter(self._approvals("id = ?", approval_id)), None)

    def approvals_in(self, state: State) -> list[Approval]:
        """Return the approvals in *state*, in order of their latest change."""
        return self._approvals("state = ?", state)

    def approvals_of(self, binding: str) -> list[Approval]:
        """Return the pending, approved and denied approvals of one exact request, in order of their latest change."""
        return self._approvals("binding = ? AND state IN ('pending', 'approved', 'denied')", binding)

    def approvals_after(self, changed: int, most: int = 1000) -> list[Approval]:
        """Return up to *most* approvals that changed after change number *changed*, in order of change."""
        return self._approvals("changed > ?", changed, most)

    def last_change(self) -> int:
        """Return the number of the latest change of any approval."""
        return int(self._connection.execute("SELECT value FROM approval_changes").fetchone()[0])

    def forget_approvals(self, ended_before: float) -> None:
        """Remove the approvals that ended before *ended_before* (Unix time). The recordings still contain them."""
        with self._transaction():
            self._connection.execute(
                "DELETE FROM approvals WHERE expires < ? AND until < ? AND state <> 'pending'",
                (ended_before, ended_before),
            )
            self._connection.execute(
                "DELETE FROM letters WHERE due IS NULL AND NOT dead AND approval NOT IN (SELECT id FROM approvals)"
            )

    def _approvals(self, where: str, *values: object) -> list[Approval]:
        limit = " LIMIT ?" if len(values) > where.count("?") else ""
        rows = self._connection.execute(
            f"SELECT document, changed FROM approvals WHERE {where} ORDER BY changed{limit}",  # noqa: S608
            values,
        )
        return [decode_approval(document, changed) for document, changed in rows]

    def _put(self, approval: Approval) -> Approval:
        """Store *approval* within a transaction."""
        self._connection.execute("UPDATE approval_changes SET value = value + 1")
        changed = self.last_change()
        iss, sub = approval.requester.key
        self._connection.execute(
            "INSERT OR REPLACE INTO approvals VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                approval.id, changed, approval.state, approval.binding, iss, sub, approval.expires,
                approval.standing, approval.until, encode_approval(approval),
            ),
        )  # fmt: skip
        if approval.standing and approval.until:
            self._connection.execute("UPDATE generation SET value = value + 1")
        return replace(approval, changed=changed)

    # Reviewers' groups.

    def know_reviewer(self, person: Person) -> tuple[str, ...]:
        """Store *person*'s groups if their token is the newest seen. Return the groups of the newest token."""
        with self._transaction():
            before = self.known_groups(person.key)
            self._connection.execute(
                "INSERT INTO reviewers VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET groups = excluded.groups, "
                "issued = excluded.issued WHERE excluded.issued >= issued",
                (person.iss, person.sub, json.dumps(person.groups), person.issued),
            )
            known = self.known_groups(person.key)
            if known != before:
                self._connection.execute("UPDATE generation SET value = value + 1")
        assert known is not None
        return known

    def known_groups(self, key: tuple[str, str]) -> tuple[str, ...] | None:
        """Return the groups of the newest token of this reviewer, (iss, sub); None if none was seen."""
        row = self._connection.execute("SELECT groups FROM reviewers WHERE iss = ? AND sub = ?", key).fetchone()
        return tuple(json.loads(row[0])) if row else None

    # Letters (notifications to send).

    def post(self, letters: Iterable[Letter]) -> None:
        """Queue *letters* for sending. Letters with an id that was queued before are ignored."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO letters VALUES (?,?,?,?,?,?,'',0)",
                [(x.id, x.hook, x.event, x.approval, x.attempts, x.due) for x in letters],
            )

    def due_letters(self, now: float, lease: float) -> list[Letter]:
        """Return letters to send now. No other process gets them for *lease* seconds."""
        with self._transaction():
            found = self._letters("due <= ? ORDER BY due LIMIT 20", now)
            self._connection.executemany(
                "UPDATE letters SET due = ? WHERE id = ?", [(now + lease, letter.id) for letter in found]
            )
        return found

    def letter_tried(self, letter: Letter, due: float | None, error: str = "", *, dead: bool = False) -> None:
        """Record an attempt to send *letter*.

        It is tried again at *due* (Unix time). If *due* is None, it was sent, or it is *dead* and is not tried again.
        """
        with self._transaction():
            self._connection.execute(
                "UPDATE letters SET due = ?, attempts = ?, error = ?, dead = ? WHERE id = ?",
                (due, letter.attempts + 1, error, dead, letter.id),
            )

    def dead_letters(self) -> list[Letter]:
        """Return the letters that could not be sent and are not tried again."""
        return self._letters("dead ORDER BY id")

    def _letters(self, where: str, *values: object) -> list[Letter]:
        rows = self._connection.execute(
            f"SELECT id, hook, event, approval, attempts, error, dead, due FROM letters WHERE {where}",  # noqa: S608
            values,
        )
        return [
            Letter(id_, hook, event, approval, attempts, error, bool(dead), due or 0.0)
            for id_, hook, event, approval, attempts, error, dead, due in rows
        ]

    # Notification of changes.

    def watch(self, wake: Callable[[], None]) -> float:
        """Return the seconds between two checks while a request waits for a change. SQLite never calls *wake*."""
        return WATCH

    def looks_changed(self) -> bool:
        """True if another process has written since the last call. Cheap."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        changed, self._version = version != self._version, version
        return bool(changed)

    @contextmanager
    def _transaction(self, *, immediate: bool = True) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def key_digest(text: str) -> bytes:
    """Return the digest stored for an API key. The key has 256 random bits, so a slow hash is not needed."""
    return hashlib.sha256(text.encode()).digest()


def _open(path: Path) -> tuple[sqlite3.Connection, tuple[int, int]]:
    made = path.with_name(f"{path.name}.made")  # a lost database must not be replaced by one without revocations
    if made.exists() and not path.exists():
        raise OSError(f"it was removed; to start without its keys and revocations, remove {made} too")
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    if path.stat().st_mode & 0o077:
        raise OSError(f"other users can read it; run: chmod 600 {path}")
    inode = _inode(path)
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        _make(connection)
        made.touch(0o600)
    except BaseException:
        connection.close()
        raise
    return connection, inode


def _make(connection: sqlite3.Connection) -> None:
    """Create or upgrade the tables. Raises OSError if a newer version wrote the file."""
    patiently(connection, "PRAGMA journal_mode = WAL", _BUSY)
    patiently(connection, "BEGIN IMMEDIATE", _BUSY)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for schema, watched in list(zip(_SCHEMA, _WATCHED, strict=True))[version:]:
        for statement in (*schema.split(";\n"), *(_trigger(t, c) for t in watched for c in _CHANGES)):
            connection.execute(statement)
    if version < _VERSION:
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")
    if version > _VERSION:
        raise OSError(f"a newer weir wrote it (format {version})")


def _inode(path: Path) -> tuple[int, int]:
    there = path.stat()
    return there.st_dev, there.st_ino
