"""Group a principal's requests into sessions. Pure, except for the clock that it receives."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from weir.base.identifiers import Uuid7
from weir.base.principal import Principal

#: Seconds after its last request at which a session without the caller's own id ends.
IDLE = 30 * 60
_MOST = 10_000


class Sessions:
    """Assigns a session id to each request, in bounded memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[tuple[str, ...], tuple[str, float]] = OrderedDict()
        self._new_id = Uuid7()

    def session(self, principal: Principal, connection: str, named: str) -> str:
        """Return the session id of a request.

        If the caller sends an id (*named*), add a digest of the principal to it, so that callers cannot share a
        session. Otherwise, return a generated id for this principal and connection. It ends after `IDLE` seconds
        without requests.
        """
        if 0 < len(named) <= 128 and named.isprintable() and named.isascii():
            whose = hashlib.sha256(repr(principal.key).encode()).hexdigest()[:8]
            return f"{named}~{whose}"
        key = (*principal.key, connection)
        now = self._clock()
        session, last = self._open.pop(key, ("", 0.0))
        if not session or now - last > IDLE:
            session = self._new_id()
        self._open[key] = (session, now)
        if len(self._open) > _MOST:
            self._open.popitem(last=False)
        return session
