"""Opaque tokens: what their provider says of them (RFC 7662), remembered briefly under a digest.

Only a response in which ``active`` is literally true, and whose claims hold, makes a principal. A
provider that does not answer in time denies, and its silence is not remembered.
"""

import asyncio
import functools
from collections import OrderedDict

from weir.alarms import alarm
from weir.auth.claims import ClaimRules, read_introspected
from weir.auth.jws import TokenError
from weir.auth.model import Principal
from weir.auth.provider import Provider, ProviderError
from weir.auth.refresher import KeysUnavailable
from weir.secret import Secret

#: Seconds for which an active token (at most until it expires) and one that is not are remembered.
POSITIVE = 60.0
NEGATIVE = 10.0
#: Tokens that are remembered.
MAX_REMEMBERED = 4096
#: Questions asked at once, and requests that may wait for one; seconds that one waits, its turn included.
MAX_ASKING = 16
MAX_WAITING = 256
LONGEST_WAIT = 6.0


class Introspector:
    """Asks one issuer about opaque tokens."""

    def __init__(self, rules: ClaimRules, provider: Provider, audience_required: bool) -> None:
        self._rules = rules
        self._provider = provider
        self._audience_required = audience_required
        self._verdicts: OrderedDict[bytes, tuple[Principal | None, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._turns = asyncio.Semaphore(MAX_ASKING)
        self._waiting = 0

    def remembered(self, digest: bytes, now: float) -> tuple[bool, Principal | None]:
        """Whether there is a verdict on the token of that *digest* at Unix time *now*, and the verdict."""
        principal, until = self._verdicts.get(digest, (None, 0.0))
        return now < until, principal

    async def ask(self, token: Secret, digest: bytes, now: float) -> Principal | None:
        """The principal of *token*; None where it is not this issuer's, or not active. Raises `KeysUnavailable`.

        Requests with the same token share one question.
        """
        known, principal = self.remembered(digest, now)
        if known:
            return principal
        if self._waiting >= MAX_WAITING:
            raise KeysUnavailable(self._rules.name)
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._introspect(token, digest, now))
            task.add_done_callback(functools.partial(self._asked, digest))
        self._waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                return await asyncio.shield(task)
        except (TimeoutError, ProviderError) as error:
            raise KeysUnavailable(self._rules.name) from error
        finally:
            self._waiting -= 1

    def _asked(self, digest: bytes, task: asyncio.Task[Principal | None]) -> None:
        del self._asking[digest]
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits any more

    async def _introspect(self, token: Secret, digest: bytes, now: float) -> Principal | None:
        try:
            async with self._turns:
                claims = await self._provider.introspect(token)
        except ProviderError as error:
            alarm("introspection_failed", f"issuer {self._rules.name!r} could not be asked about a token: {error}")
            raise
        principal = None
        if claims.get("active") is True:
            try:
                principal = read_introspected(claims, self._rules, now, audience_required=self._audience_required)
            except TokenError:
                principal = None
        until = now + NEGATIVE if principal is None else min(now + POSITIVE, principal.expires)
        self._verdicts[digest] = (principal, until)
        self._verdicts.move_to_end(digest)
        if len(self._verdicts) > MAX_REMEMBERED:
            self._verdicts.popitem(last=False)
        return principal
