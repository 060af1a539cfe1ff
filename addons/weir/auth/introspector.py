"""Ask the provider about opaque tokens (RFC 7662), and cache its answers briefly by the token's digest.

Each address of callers has a share of the questions, so that unknown tokens from one address do not crowd out others.
A token that was active before has a share of its own.

A token is accepted only if the response has ``active: true`` and valid claims. If a provider does not answer in
time, the token is refused, and nothing is cached.
"""

import asyncio
import functools
from collections import Counter, OrderedDict

from weir.auth.claims import ClaimRules, read_introspected
from weir.auth.jws import TokenError
from weir.auth.provider import Provider, ProviderError
from weir.auth.refresher import KeysUnavailable
from weir.auth.turns import Turns, network_of
from weir.base.alarms import alarm
from weir.base.principal import Principal
from weir.base.secret import Secret

#: Seconds that an active token (until its expiry at most) and an inactive token stay in the cache.
POSITIVE = 60.0
NEGATIVE = 10.0
#: Maximum tokens in the cache.
MAX_REMEMBERED = 4096
#: Concurrent questions; maximum tokens being asked about or waiting; seconds that a token waits for its turn.
MAX_ASKING = 16
MAX_WAITING = 256
LONGEST_WAIT = 3.0
#: One address may have this part of both: 8 concurrent questions, and 64 tokens.
SHARE_OF_ASKING = 2
SHARE_OF_WAITING = 4

#: The principal of an active token, or the reason why the token is refused.
Verdict = Principal | str


class Introspector:
    """Asks one issuer's provider about opaque tokens."""

    def __init__(self, rules: ClaimRules, provider: Provider, audience_required: bool) -> None:
        self._rules = rules
        self._provider = provider
        self.audience_required = audience_required
        self._verdicts: OrderedDict[bytes, tuple[Verdict, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Verdict]] = {}
        self._turns = Turns(MAX_ASKING, MAX_ASKING // SHARE_OF_ASKING)
        self._asked_for: Counter[str] = Counter()  # tokens that are being asked about, by address

    def remembered(self, digest: bytes, now: float) -> Verdict | None:
        """Return the cached verdict on the token with this *digest* at Unix time *now*; None if none exists."""
        verdict, until = self._verdicts.get(digest, ("", 0.0))
        return verdict if now < until else None

    async def ask(self, token: Secret, digest: bytes, now: float, address: str = "") -> Verdict:
        """Return the verdict on *token* of a caller at *address*. Requests with the same token share one question.

        Raises `KeysUnavailable`.
        """
        verdict = self.remembered(digest, now)
        if verdict is not None:
            return verdict
        task = self._asking.get(digest)
        if task is None:
            sharer = self._sharer(digest, address)
            if len(self._asking) >= MAX_WAITING or self._asked_for[sharer] >= MAX_WAITING // SHARE_OF_WAITING:
                raise KeysUnavailable(self._rules.name)
            self._asked_for[sharer] += 1
            task = self._asking[digest] = asyncio.create_task(self._introspect(token, digest, now, sharer))
            task.add_done_callback(functools.partial(self._asked, digest, sharer))
        try:
            return await asyncio.shield(task)
        except (TimeoutError, ProviderError) as error:
            raise KeysUnavailable(self._rules.name) from error

    def _sharer(self, digest: bytes, address: str) -> str:
        """Return the name under which a question counts: the address, or the token if it was active before."""
        verdict, _ = self._verdicts.get(digest, ("", 0.0))
        return digest.hex() if isinstance(verdict, Principal) else network_of(address)

    def _asked(self, digest: bytes, sharer: str, task: asyncio.Task[Verdict]) -> None:
        del self._asking[digest]
        self._asked_for[sharer] -= 1
        if not self._asked_for[sharer]:
            del self._asked_for[sharer]
        if not task.cancelled():
            task.exception()  # mark the exception as retrieved, even if no request waits for it any more

    async def _introspect(self, token: Secret, digest: bytes, now: float, sharer: str) -> Verdict:
        async with asyncio.timeout(LONGEST_WAIT):  # no question stays queued after the callers have left
            await self._turns.take(sharer)
        try:
            claims = await self._provider.introspect(token)
        except ProviderError as error:
            alarm("introspection_failed", f"issuer {self._rules.name!r} could not be asked about a token: {error}")
            raise
        finally:
            self._turns.give(sharer)
        verdict: Verdict = f"issuer {self._rules.name!r} does not report the token as active"
        if claims.get("active") is True:
            try:
                verdict = read_introspected(claims, self._rules, now, audience_required=self.audience_required)
            except TokenError as error:
                verdict = str(error)
        until = now + NEGATIVE if isinstance(verdict, str) else min(now + POSITIVE, verdict.expires)
        self._verdicts[digest] = (verdict, until)
        self._verdicts.move_to_end(digest)
        if len(self._verdicts) > MAX_REMEMBERED:
            self._verdicts.popitem(last=False)
        return verdict
