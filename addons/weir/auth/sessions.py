"""Sessions: which of a principal's requests belong together. Pure but for the clock that it is given."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from weir.base.identifiers import Uuid7
from weir.base.principal import Principal

#: A session without its own id ends this long after its last request (seconds).
IDLE = 30 * 60
_MOST = 10_000


class Sessions:
    """Gives each request a session id, in bounded memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[tuple[str, ...], tuple[str, float]] = OrderedDict()
        self._new_id = Uuid7()

    def session(self, principal: Principal, connection: str, named: str) -> str:
        """The caller's own id *named*, made this principal's; else one for as long as requests keep coming."""
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
