"""Replay: mitmproxy's options ``-S`` and ``-C``, with masked recordings and under the policies."""

import hmac
from collections.abc import Sequence

from mitmproxy import ctx, http

from weir.base.home import derived_key
from weir.base.problems import Kind, Refusal
from weir.path.exchange import Arrived, Body, Exchange, Head, Keyed, Read, Rehearsed, Routed
from weir.policyset.model import PolicySet
from weir.recorder.replay_key import HEADER, replay_key

#: Words that an operator may put into ``weir_replay_allow``.
ALLOWANCES = ("writes", "masked")
_WRITES = ("write", "admin")


class Replay:
    """The key that server replay compares, and the allowances of client replay."""

    def __init__(self) -> None:
        self.key = b""
        self.only = False  # refuse requests that server replay does not answer

    @property
    def allowed(self) -> Sequence[str]:
        """Return the allowances of ``weir_replay_allow``."""
        return [word.strip() for word in ctx.options.weir_replay_allow.split(",")]

    def start(self, policies: PolicySet) -> None:
        """Read the key, and let server replay compare only the key: masks and credentials do not change it."""
        self.key = derived_key("replay")
        if ctx.options.server_replay:
            self.only = ctx.options.server_replay_extra != "forward"
            ctx.options.update(
                server_replay_refresh=False,  # it raises on invalid dates, and then the request would be sent
                server_replay_extra="forward",  # Gate refuses requests without a recorded answer
                server_replay_use_headers=[HEADER],
                server_replay_ignore_content=True,
                server_replay_ignore_host=True,
                server_replay_ignore_port=True,
                server_replay_ignore_params=sorted(
                    {c.credential.query for c in policies.connections if c.credential and c.credential.query}
                ),
            )


class NoReplayKey:
    """Stand-in: set an empty key, since a rehearsal is never replayed."""

    name = "mark_replay"

    def __call__(self, rehearsed: Rehearsed) -> Keyed:
        return Keyed("", only=False)


class MarkReplay:
    """Mark the request with its replay key. Refuse a replay that writes, or that differs from the request sent before.

    ``weir_replay_allow`` can allow both.
    """

    name = "mark_replay"
    stand_in = NoReplayKey()

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def __call__(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        arrived: Arrived,
        head: Head,
        routed: Routed,
        body: Body,
        read: Read,
    ) -> Keyed:
        key = replay_key(self._replay.key, routed.connection.name, arrived.method, arrived.target, body.decoded)
        if exchange.replay:
            if read.call.operation in _WRITES and "writes" not in self._replay.allowed:
                raise Refusal(
                    Kind.REPLAY_REFUSED, "This request writes. Add --set weir_replay_allow=writes to repeat it."
                )
            recorded = head.fields.get(HEADER.lower().encode(), b"")
            if not hmac.compare_digest(recorded, key.encode()) and "masked" not in self._replay.allowed:
                raise Refusal(
                    Kind.REPLAY_REFUSED,
                    "The recorded request differs from the sent one: the record masks parts of it, or it was refused. "
                    "Add --set weir_replay_allow=masked to send it anyway.",
                )
        data = flow.request.data
        data.headers.fields = (*data.headers.fields, (HEADER.encode(), key.encode()))
        return Keyed(key, self._replay.only)
