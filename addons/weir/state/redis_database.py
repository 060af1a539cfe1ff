"""Shared state in Redis or Valkey, for processes on several machines. Has the same methods as `Database`.

A Lua script changes an approval by compare-and-set, so a step applies to the version that it read, or not at all. Every
change is also added to a stream, on which a thread of each process waits. The store must be durable
(``appendonly yes``): a store that comes back empty has lost revocations and is not accepted. All machines need the same
master key, or they could not use each other's digests. Needs the extra ``redis``.
"""

import contextlib
import functools
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, WatchError
from redis.retry import Retry

from weir.approvals.model import Approval, Person, State, decode_approval, encode_approval
from weir.base.home import HomeError, derived_key, operator_name
from weir.state.database import KEY_PREFIX, NameTaken, Step, TooManyOpen, key_digest
from weir.state.model import ApiKey, Letter, Revocation, RevocationKind, Snapshot, Stop, StopScope, snapshot_of

logger = logging.getLogger("weir")

#: Seconds to wait for an answer.
TIMEOUT = 1.0
#: Seconds between two checks, in case an entry of the stream was missed.
_PACE = 0.25
#: One hash tag, so all keys are on one node of a cluster.
_PREFIX = "{weir}:state:"
_MOST_TRIES = 100

# Stores an approval if the stored version still equals the version that the caller has read.
# KEYS: the approval, the number of the latest change, changes, approvals in the old state, approvals in the new state,
# ends, reusable approvals, relevant approvals of its binding, its requester's open approvals, generation, stream.
# ARGV: version that was read, version to store, id, expires, end, until (0: not reusable), whether it is open, whether
# it is relevant for its binding, now, maximum of open approvals (-1: no limit). Returns the number of the change.
_PUT = """
local before = redis.call('GET', KEYS[1]) or ''
if before ~= ARGV[1] then return -1 end
redis.call('ZREMRANGEBYSCORE', KEYS[9], '-inf', ARGV[9])
if tonumber(ARGV[10]) >= 0 and redis.call('ZCARD', KEYS[9]) >= tonumber(ARGV[10]) then return -2 end
local changed = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], changed, ARGV[3])
redis.call('ZREM', KEYS[4], ARGV[3])
redis.call('ZADD', KEYS[5], changed, ARGV[3])
redis.call('ZADD', KEYS[6], ARGV[5], ARGV[3])
if ARGV[8] == '1' then redis.call('SADD', KEYS[8], ARGV[3]) else redis.call('SREM', KEYS[8], ARGV[3]) end
if ARGV[7] == '1' then redis.call('ZADD', KEYS[9], ARGV[4], ARGV[3]) else redis.call('ZREM', KEYS[9], ARGV[3]) end
if tonumber(ARGV[6]) > 0 then
  redis.call('ZADD', KEYS[7], ARGV[6], ARGV[3])
  redis.call('INCR', KEYS[10])
end
redis.call('XADD', KEYS[11], 'MAXLEN', '~', 1000, '*', 'changed', changed)
return changed
"""

# KEYS: due letters. ARGV: now, and when the letters may be taken again.
_DUE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 20)
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[2], id) end
return due
"""


# KEYS: letters, due letters. ARGV: id of the letter, the letter, when it is due.
_POST = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
return 1
"""


class StoreDown(OSError):
    """Redis does not answer."""


def _translating(cls: type) -> type:
    """Make every public method of *cls* raise `StoreDown` if Redis does not answer."""

    def translated(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return method(*arguments, **named)
            except RedisError as error:
                raise StoreDown(f"Redis: {type(error).__name__}") from None

        return call

    for name, method in list(vars(cls).items()):
        if callable(method) and not name.startswith("_"):
            setattr(cls, name, translated(method))
    return cls


@_translating
class RedisDatabase:
    """One connection to the shared state. Raises `HomeError` if it cannot be used."""

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            # No automatic retries: an unanswered command may have run, perhaps on a Redis that was replaced since.
            # And a single connection, because a pool would reconnect silently.
            never: Any = Retry(NoBackoff(), 0)
            self._redis: Any = Redis.from_url(
                url,
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
                retry=never,
                retry_on_error=[],
                single_connection_client=True,
            )
            self._redis.set(_key("generation"), 1, nx=True)
            mine = hmac.digest(derived_key("state"), b"which master key", "sha256").hex().encode()
            self._redis.set(_key("master"), mine, nx=True)
            theirs: Any = self._redis.get(_key("master")) or b""
        except RedisError as error:
            message = f"the Redis of `state:` cannot be used ({type(error).__name__}); start it, or change gateway.yaml"
            raise HomeError(message) from None
        self._put_script = self._redis.register_script(_PUT)
        self._due_script = self._redis.register_script(_DUE)
        self._post_script = self._redis.register_script(_POST)
        self._closed = threading.Event()
        with contextlib.suppress(RedisError):  # some services forbid CONFIG GET
            if self._redis.config_get("appendonly").get("appendonly") == "no":
                logger.warning(
                    "weir: the Redis of `state:` does not store every write (appendonly no): if it loses data, every "
                    "request is refused until the gateway restarts; set appendonly yes"
                )
        if not hmac.compare_digest(mine, theirs):
            raise HomeError(
                "this machine's master.key differs from the one that other machines use with this Redis; copy theirs "
                "to WEIR_HOME, or use another database"
            )

    def close(self) -> None:
        """As in `Database`."""
        self._closed.set()
        with contextlib.suppress(RedisError, OSError):
            self._redis.close()

    def replaced(self) -> bool:
        """As in `Database`. Always False: an emptied Redis is detected by its lower generation."""
        return False

    def reopen(self) -> "RedisDatabase":
        """As in `Database`."""
        return RedisDatabase(self._url)

    def generation(self) -> int:
        """As in `Database`."""
        return int(self._redis.get(_key("generation")) or 0)

    def snapshot(self) -> tuple[int, Snapshot]:
        """As in `Database`."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.get(_key("generation")).hvals(_key("keys")).hgetall(_key("uses"))
        pipe.hvals(_key("revocations")).hvals(_key("stops"))
        pipe.zrangebyscore(_key("standing"), time.time(), "+inf").hgetall(_key("reviewers"))
        generation, keys, uses, revocations, stops, standing, known = pipe.execute()
        groups = {tuple(json.loads(name)): tuple(json.loads(found)[0]) for name, found in known.items()}
        found = {k.digest: k.key(uses) for k in map(_stored_key, keys) if k.revoked is None}
        approvals = [a for a in self._approvals(standing) if a.state in ("approved", "used")]
        return int(generation or 0), snapshot_of(
            found, map(_revocation, revocations), sorted(map(_stop, stops), key=lambda s: s.id), approvals, groups
        )

    # API keys.

    def create_key(self, name: str, groups: tuple[str, ...], expires: float | None, now: float) -> tuple[ApiKey, str]:
        """As in `Database`."""
        key_id = secrets.token_hex(5)
        text = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
        stored = _StoredKey(key_id, name, key_digest(text), groups, now, operator_name(), expires)

        def put(pipe: Any) -> None:
            if any(k.name == name and k.revoked is None for k in map(_stored_key, pipe.hvals(_key("keys")))):
                raise NameTaken(name)
            pipe.multi()
            pipe.hset(_key("keys"), key_id, msgspec.json.encode(stored))
            _announce(pipe)

        self._redis.transaction(put, _key("keys"))
        return stored.key({}), text

    def list_keys(self) -> list[ApiKey]:
        """As in `Database`."""
        uses = self._redis.hgetall(_key("uses"))
        keys = map(_stored_key, self._redis.hvals(_key("keys")))
        return sorted((key.key(uses) for key in keys), key=lambda key: key.created)

    def revoke_key(self, name: str, now: float) -> int:
        """As in `Database`."""

        def put(pipe: Any) -> int:
            keys = map(_stored_key, pipe.hvals(_key("keys")))
            found = [k for k in keys if k.revoked is None and name in (k.name, k.id)]
            pipe.multi()
            for key in found:
                pipe.hset(_key("keys"), key.id, msgspec.json.encode(replace(key, revoked=now)))
            _announce(pipe)
            return len(found)

        return int(self._redis.transaction(put, _key("keys"), value_from_callable=True))

    def touch(self, used: Mapping[str, float]) -> None:
        """As in `Database`."""
        self._redis.hset(_key("uses"), mapping={key_id: repr(when) for key_id, when in used.items()})

    # Revocations and stops.

    def revoke(
        self, kind: RevocationKind, iss: str, value: str, now: float, *, block: bool = False, reason: str = ""
    ) -> Revocation:
        """As in `Database`."""
        number = int(self._redis.incr(_key("numbers")))
        revocation = Revocation(number, kind, iss, value, block, now, operator_name(), reason)
        self._write("revocations", number, revocation)
        return revocation

    def revocations(self) -> list[Revocation]:
        """As in `Database`."""
        return sorted(map(_revocation, self._redis.hvals(_key("revocations"))), key=lambda r: r.id)

    def lift(self, revocation: int) -> bool:
        """As in `Database`."""
        return self._remove("revocations", [revocation]) > 0

    def stop(self, scope: StopScope, iss: str, value: str, now: float, reason: str) -> Stop:
        """As in `Database`."""
        number = int(self._redis.incr(_key("numbers")))
        stop = Stop(number, scope, iss, value, now, operator_name(), reason)
        self._write("stops", number, stop)
        return stop

    def stops(self) -> list[Stop]:
        """As in `Database`."""
        return sorted(map(_stop, self._redis.hvals(_key("stops"))), key=lambda s: s.id)

    def start(self, scope: StopScope, iss: str, value: str) -> int:
        """As in `Database`."""
        found = [stop.id for stop in self.stops() if (stop.scope, stop.iss, stop.value) == (scope, iss, value)]
        return self._remove("stops", found)

    def _write(self, table: str, number: int, value: Revocation | Stop) -> None:
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(_key(table), number, msgspec.json.encode(value))
        _announce(pipe)
        pipe.execute()

    def _remove(self, table: str, numbers: Iterable[int]) -> int:
        pipe = self._redis.pipeline(transaction=True)
        count = 0
        for number in numbers:
            pipe.hdel(_key(table), number)
            count += 1
        _announce(pipe)
        return sum(pipe.execute()[:count])

    # Approvals.

    def add_approval(self, approval: Approval, most: int) -> Approval:
        """As in `Database`."""
        changed = self._put(approval, b"", approval.asked, most)
        if changed == -2:
            raise TooManyOpen
        if changed < 0:
            raise KeyError(approval.id)
        return replace(approval, changed=changed)

    def change_approval(self, approval_id: str, step: Step) -> Approval:
        """As in `Database`."""
        for _ in range(_MOST_TRIES):
            document = self._redis.get(_key(f"approval:{approval_id}"))
            if document is None:
                raise KeyError(approval_id)
            score = self._redis.zscore(_key("changes"), approval_id)
            before = decode_approval(document, int(score or 0))
            after = step(before)
            if after is None:
                return before
            changed = self._put(after, document, time.time(), -1)
            if changed >= 0:
                return replace(after, changed=changed)
        raise WatchError(f"{approval_id} changes too often")

    def approval(self, approval_id: str) -> Approval | None:
        """As in `Database`."""
        return next(iter(self._approvals([approval_id])), None)

    def approvals_in(self, state: State) -> list[Approval]:
        """As in `Database`."""
        return [a for a in self._approvals(self._redis.zrange(_key(f"in:{state}"), 0, -1)) if a.state == state]

    def approvals_of(self, binding: str) -> list[Approval]:
        """As in `Database`."""
        return self._approvals(self._redis.smembers(_key(f"binding:{binding}")))

    def approvals_after(self, changed: int, most: int = 1000) -> list[Approval]:
        """As in `Database`."""
        return self._approvals(self._redis.zrangebyscore(_key("changes"), f"({changed}", "+inf", start=0, num=most))

    def last_change(self) -> int:
        """As in `Database`."""
        return int(self._redis.get(_key("change")) or 0)

    def forget_approvals(self, ended_before: float) -> None:
        """As in `Database`."""
        for approval in self._approvals(self._redis.zrangebyscore(_key("ends"), "-inf", ended_before)):
            if approval.state == "pending":
                continue
            pipe = self._redis.pipeline(transaction=True)
            pipe.delete(_key(f"approval:{approval.id}"))
            pipe.srem(_key(f"binding:{approval.binding}"), approval.id)
            for table in ("changes", f"in:{approval.state}", "ends", "standing"):
                pipe.zrem(_key(table), approval.id)
            pipe.execute()
        for name, letter in self._redis.hgetall(_key("letters")).items():
            found = _letter(letter)
            if not (found.due or found.dead or self._redis.exists(_key(f"approval:{found.approval}"))):
                self._redis.hdel(_key("letters"), name)

    def _approvals(self, ids: Iterable[bytes | str]) -> list[Approval]:
        names = [i.decode() if isinstance(i, bytes) else i for i in ids]
        if not names:
            return []
        pipe = self._redis.pipeline(transaction=True)
        pipe.mget([_key(f"approval:{name}") for name in names])
        pipe.zmscore(_key("changes"), names)
        documents, scores = pipe.execute()
        found = [
            decode_approval(document, int(score or 0))
            for document, score in zip(documents, scores, strict=True)
            if document is not None
        ]
        return sorted(found, key=lambda approval: approval.changed)

    def _put(self, approval: Approval, before: bytes, now: float, most: int) -> int:
        owner = hashlib.sha256("\0".join(approval.requester.key).encode()).hexdigest()
        was = decode_approval(before, 0).state if before else approval.state
        keys = [
            f"approval:{approval.id}", "change", "changes", f"in:{was}", f"in:{approval.state}", "ends", "standing",
            f"binding:{approval.binding}", f"of:{owner}", "generation", "stream",
        ]  # fmt: skip
        until = approval.until if approval.standing else 0.0
        arguments: list[Any] = [
            before, encode_approval(replace(approval, changed=0)), approval.id, approval.expires,
            max(approval.expires, approval.until), until, int(approval.state == "pending"),
            int(approval.state in ("pending", "approved", "denied")), now, most,
        ]  # fmt: skip
        return int(self._put_script(keys=list(map(_key, keys)), args=arguments))

    # Reviewers' groups.

    def know_reviewer(self, person: Person) -> tuple[str, ...]:
        """As in `Database`."""

        def put(pipe: Any) -> tuple[str, ...]:
            known = pipe.hget(_key("reviewers"), _name(person.key))
            groups, issued = json.loads(known) if known else ((), -1.0)
            pipe.multi()
            if person.issued >= issued:
                pipe.hset(_key("reviewers"), _name(person.key), json.dumps([person.groups, person.issued]))
                if not known or tuple(groups) != person.groups:
                    _announce(pipe)
                groups = person.groups
            return tuple(groups)

        found: tuple[str, ...] = self._redis.transaction(put, _key("reviewers"), value_from_callable=True)
        return found

    def known_groups(self, key: tuple[str, str]) -> tuple[str, ...] | None:
        """As in `Database`."""
        known = self._redis.hget(_key("reviewers"), _name(key))
        return tuple(json.loads(known)[0]) if known else None

    # Letters (notifications to send).

    def post(self, letters: Iterable[Letter]) -> None:
        """As in `Database`."""
        for letter in letters:
            document = msgspec.json.encode(letter)
            self._post_script(keys=[_key("letters"), _key("due")], args=[letter.id, document, letter.due])

    def due_letters(self, now: float, lease: float) -> list[Letter]:
        """As in `Database`."""
        ids = self._due_script(keys=[_key("due")], args=[now, now + lease])
        return [_letter(found) for found in self._redis.hmget(_key("letters"), ids) if found] if ids else []

    def letter_tried(self, letter: Letter, due: float | None, error: str = "", *, dead: bool = False) -> None:
        """As in `Database`."""
        tried = Letter(
            letter.id, letter.hook, letter.event, letter.approval, letter.attempts + 1, error, dead, due or 0.0
        )
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(_key("letters"), letter.id, msgspec.json.encode(tried))
        if due is None:
            pipe.zrem(_key("due"), letter.id)
        else:
            pipe.zadd(_key("due"), {letter.id: due})
        pipe.execute()

    def dead_letters(self) -> list[Letter]:
        """As in `Database`."""
        letters = map(_letter, self._redis.hvals(_key("letters")))
        return sorted((letter for letter in letters if letter.dead), key=lambda letter: letter.id)

    # Notification of changes.

    def watch(self, wake: Callable[[], None]) -> float:
        """As in `Database`. A separate thread waits for the stream."""
        threading.Thread(target=self._listen, args=(wake,), name="weir state stream", daemon=True).start()
        return _PACE

    def looks_changed(self) -> bool:
        """As in `Database`."""
        return True

    def _listen(self, wake: Callable[[], None]) -> None:
        redis: Any = Redis.from_url(self._url, socket_connect_timeout=TIMEOUT, socket_timeout=5.0)
        last = "$"
        while not self._closed.is_set():
            try:
                for _, entries in redis.xread({_key("stream"): last}, block=2000) or ():
                    last = entries[-1][0]
                    wake()
            except (RedisError, OSError):
                last = "$"
                self._closed.wait(0.5)
                wake()  # changes may have been missed
        redis.close()


class _StoredKey(msgspec.Struct, frozen=True):
    """An API key with the digest of its secret."""

    id: str
    name: str
    digest: bytes
    groups: tuple[str, ...]
    created: float
    created_by: str
    expires: float | None
    revoked: float | None = None

    def key(self, uses: Mapping[bytes, bytes]) -> ApiKey:
        """Return the public part of the key."""
        used = uses.get(self.id.encode())
        return ApiKey(
            self.id, self.name, self.groups, self.created, self.created_by, self.expires, self.revoked,
            float(used) if used else None,
        )  # fmt: skip


_stored_key = msgspec.json.Decoder(_StoredKey).decode
_revocation = msgspec.json.Decoder(Revocation).decode
_stop = msgspec.json.Decoder(Stop).decode
_letter = msgspec.json.Decoder(Letter).decode


def _key(name: str) -> str:
    return _PREFIX + name


def _name(key: tuple[str, str]) -> str:
    return json.dumps(key)


def _announce(pipe: Any) -> None:
    """Raise the generation and wake other processes, because state that requests are judged by changes."""
    pipe.incr(_key("generation"))
    pipe.xadd(_key("stream"), {"changed": "snapshot"}, maxlen=1000, approximate=True)
