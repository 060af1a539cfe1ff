"""Opaque tokens: what their provider says of them (RFC 7662), remembered briefly under a digest.

Only a response in which ``active`` is literally true, and whose claims hold, makes a principal. A
provider that does not answer in time denies, and its silence is not remembered.
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

#: Seconds for which an active token (at most until it expires) and one that is not are remembered.
POSITIVE = 60.0
NEGATIVE = 10.0
#: Tokens that are remembered.
MAX_REMEMBERED = 4096
#: Questions asked at once; tokens that may be asked about or wait for it; seconds that one waits for its turn.
MAX_ASKING = 16
MAX_WAITING = 256
LONGEST_WAIT = 1.0

#: The principal of an active token, or why there is none.
Verdict = Principal | str


class Introspector:
    """Asks one issuer about opaque tokens."""

    def __init__(self, rules: ClaimRules, provider: Provider, audience_required: bool) -> None:
        self._rules = rules
        self._provider = provider
        self._audience_required = audience_required
        self._verdicts: OrderedDict[bytes, tuple[Verdict, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Verdict]] = {}
        self._turns = asyncio.Semaphore(MAX_ASKING)

    def remembered(self, digest: bytes, now: float) -> Verdict | None:
        """The verdict on the token of that *digest* at Unix time *now*; None where there is none."""
        verdict, until = self._verdicts.get(digest, ("", 0.0))
        return verdict if now < until else None

    async def ask(self, token: Secret, digest: bytes, now: float) -> Verdict:
        """The verdict on *token*. Raises `KeysUnavailable`. Requests with the same token share one question."""
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
            task.exception()  # seen, even where nobody waits any more

    async def _introspect(self, token: Secret, digest: bytes, now: float) -> Verdict:
        async with asyncio.timeout(LONGEST_WAIT):  # nothing stays queued after those who asked have left
            await self._turns.acquire()
        try:
            claims = await self._provider.introspect(token)
        except ProviderError as error:
            alarm("introspection_failed", f"issuer {self._rules.name!r} could not be asked about a token: {error}")
            raise
        finally:
            self._turns.release()
        verdict: Verdict = f"{self._rules.name} does not say that it is active"
        if claims.get("active") is True:
            try:
                verdict = read_introspected(claims, self._rules, now, audience_required=self._audience_required)
            except TokenError as error:
                verdict = str(error)
        until = now + NEGATIVE if isinstance(verdict, str) else min(now + POSITIVE, verdict.expires)
        self._verdicts[digest] = (verdict, until)
        self._verdicts.move_to_end(digest)
        if len(self._verdicts) > MAX_REMEMBERED:
            self._verdicts.popitem(last=False)
        return verdict
