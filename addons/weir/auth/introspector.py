"""Ask the provider about opaque tokens (RFC 7662), and cache its answers briefly by the token's digest.

A token is accepted only if the response has ``active: true`` and valid claims. If a provider does not answer in
time, the token is refused, and nothing is cached.
"""

import asyncio
import functools
from collections import OrderedDict

from weir.auth.claims import ClaimRules, read_introspected
from weir.auth.jws import TokenError
from weir.auth.provider import Provider, ProviderError
from weir.auth.refresher import KeysUnavailable
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
LONGEST_WAIT = 1.0

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
        self._turns = asyncio.Semaphore(MAX_ASKING)

    def remembered(self, digest: bytes, now: float) -> Verdict | None:
        """Return the cached verdict on the token with this *digest* at Unix time *now*; None if none exists."""
        verdict, until = self._verdicts.get(digest, ("", 0.0))
        return verdict if now < until else None

    async def ask(self, token: Secret, digest: bytes, now: float) -> Verdict:
        """Return the verdict on *token*. Requests with the same token share one question.

        Raises `KeysUnavailable`.
        """
        verdict = self.remembered(digest, now)
        if verdict is not None:
            return verdict
        task = self._asking.get(digest)
        if task is None:
            if len(self._asking) >= MAX_WAITING:
                raise KeysUnavailable(self._rules.name)
            task = self._asking[digest] = asyncio.create_task(self._introspect(token, digest, now))
            task.add_done_callback(functools.partial(self._asked, digest))
        try:
            return await asyncio.shield(task)
        except (TimeoutError, ProviderError) as error:
            raise KeysUnavailable(self._rules.name) from error

    def _asked(self, digest: bytes, task: asyncio.Task[Verdict]) -> None:
        del self._asking[digest]
        if not task.cancelled():
            task.exception()  # mark the exception as retrieved, even if no request waits for it any more

    async def _introspect(self, token: Secret, digest: bytes, now: float) -> Verdict:
        async with asyncio.timeout(LONGEST_WAIT):  # no question stays queued after the callers have left
            await self._turns.acquire()
        try:
            claims = await self._provider.introspect(token)
        except ProviderError as error:
            alarm("introspection_failed", f"issuer {self._rules.name!r} could not be asked about a token: {error}")
            raise
        finally:
            self._turns.release()
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
