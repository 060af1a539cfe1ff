"""Replay: mitmproxy's own ``-S`` and ``-C``, made to work with masked recordings and to stay policed."""

import hmac

from mitmproxy import ctx, http

from weir.base.home import derived_key
from weir.base.problems import Kind, Refusal
from weir.path.exchange import Exchange
from weir.policyset.model import PolicySet
from weir.recorder.replay_key import HEADER, replay_key

#: What an operator may ask for by name in ``weir_replay_allow``.
ALLOWANCES = ("writes", "masked")
_WRITES = ("write", "admin")


class Replay:
    """Sets the key that ``-S`` compares; refuses what ``-C`` must not send again unasked."""

    def __init__(self) -> None:
        self._key = b""
        self._replay_only = False

    def start(self, policies: PolicySet) -> None:
        """Read the key; have server replay compare it and nothing that masks or credentials change."""
        self._key = derived_key("replay")
        if ctx.options.server_replay:
            self._replay_only = ctx.options.server_replay_extra != "forward"
            ctx.options.update(
                server_replay_refresh=False,  # it raises on odd dates, and the request would go on
                server_replay_extra="forward",  # what it does not answer comes to Gate, which refuses it
                server_replay_use_headers=[HEADER],
                server_replay_ignore_content=True,
                server_replay_ignore_host=True,
                server_replay_ignore_port=True,
                server_replay_ignore_params=sorted(
                    {c.credential.query for c in policies.connections if c.credential and c.credential.query}
                ),
            )

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Mark the request with its key. Refuse to repeat, unasked, a write or what is not exactly what was sent."""
        assert exchange.connection is not None
        name = exchange.connection.name
        key = replay_key(self._key, name, exchange.method, exchange.caller_target, exchange.caller_body)
        if exchange.replay:
            if exchange.call.operation in _WRITES and "writes" not in self._allowed():
                raise Refusal(
                    Kind.REPLAY_REFUSED, "This request writes. Add --set weir_replay_allow=writes to repeat it."
                )
            recorded = exchange.head.get(HEADER.lower().encode(), b"")
            if not hmac.compare_digest(recorded, key.encode()) and "masked" not in self._allowed():
                raise Refusal(
                    Kind.REPLAY_REFUSED,
                    "The recorded request is not what was sent: the record masks parts of it, or it was refused. "
                    "Add --set weir_replay_allow=masked to send it all the same.",
                )
        exchange.replay_only = self._replay_only
        exchange.replay_key = key
        data = flow.request.data
        data.headers.fields = (*data.headers.fields, (HEADER.encode(), key.encode()))

    def _allowed(self) -> list[str]:
        return [word.strip() for word in ctx.options.weir_replay_allow.split(",")]
