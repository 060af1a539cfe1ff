"""What the protocol layers ask the gateway, as functions, so that they need not know its state."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy.connection import Client
from mitmproxy.http import HTTPFlow, Response


def _nothing_refused(flow: HTTPFlow) -> bool:
    return False


def _nothing_left(flow: HTTPFlow, why: str) -> None:
    return None


def _nothing_repeated(flow: HTTPFlow) -> bool:
    return False


def _no_transport(client: Client) -> asyncio.Transport | None:
    return None


def _no_answer(flow: HTTPFlow) -> Response | None:
    return None


@dataclass(frozen=True, slots=True)
class Hooks:
    """The functions. The defaults are for tests of a layer without a gateway."""

    #: True if a request is refused already, by its head.
    refused: Callable[[HTTPFlow], bool] = _nothing_refused
    #: True if the body of a request is not needed, because its head refuses or answers it.
    unneeded: Callable[[HTTPFlow], bool] = _nothing_refused
    #: Called at once, with mitmproxy's reason, when a caller leaves or resets a request, also while a hook of it runs.
    left: Callable[[HTTPFlow, str], None] = _nothing_left
    #: True if the request may be sent once more, on a new connection, because its service closed the first one without
    #: an answer. It is sent then.
    repeated: Callable[[HTTPFlow], bool] = _nothing_repeated
    #: The transport of a client connection; None once it is closed.
    transport: Callable[[Client], asyncio.Transport | None] = _no_transport
    #: The gateway's own answer to a request that ended with an error; None if it has none.
    answer_of: Callable[[HTTPFlow], Response | None] = _no_answer


_installed = Hooks()


def use(hooks: Hooks) -> None:
    """Make *hooks* the functions that all layers call."""
    global _installed  # noqa: PLW0603  one gateway per process
    _installed = hooks


def current() -> Hooks:
    """Return the functions that layers call."""
    return _installed
