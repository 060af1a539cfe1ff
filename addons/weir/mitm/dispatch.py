"""mitmproxy's event dispatch, without asking every addon about every event.

Stock dispatch walks all addons twice for each flow event (once for the event, once for ``update``) and
looks the hook up each time: with a dozen addons about half a millisecond a request. Here the hooks of
each event are looked up once, until an addon is registered or removed. Order, the try around each
top-level addon, `AddonHalt` and awaiting are as in `mitmproxy.addonmanager`; a test holds the two
against each other.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from mitmproxy import exceptions, hooks
from mitmproxy.addonmanager import AddonManager, safecall, traverse

#: The hooks of one top-level addon and of the addons within it: one that raises skips the rest of its own.
_Group = list[Callable[..., Any]]


def install(manager: AddonManager) -> None:
    """Have *manager* dispatch its asynchronous events this way. Idempotent."""
    if "trigger_event" in vars(manager):
        return
    plans: dict[str, list[_Group]] = {}
    chain_seen: list[Any] = []

    async def trigger_event(event: hooks.Hook) -> None:
        nonlocal chain_seen
        if manager.chain != chain_seen:
            chain_seen = list(manager.chain)
            plans.clear()
        plan = plans.get(event.name)
        if plan is None:
            plan = plans[event.name] = _plan(manager, event.name)
        if not plan:
            return
        arguments = event.args()
        for group in plan:
            try:
                with safecall():
                    for hook in group:
                        result = hook(*arguments)
                        if result is not None and inspect.isawaitable(result):
                            await result
            except exceptions.AddonHalt:
                return

    def forgetting(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def changed(*args: Any, **kwargs: Any) -> Any:
            plans.clear()
            return method(*args, **kwargs)

        return changed

    # Methods of this instance only. Scripts come and go by register and remove.
    for name, replacement in {
        "trigger_event": trigger_event,
        "register": forgetting(manager.register),
        "remove": forgetting(manager.remove),
        "clear": forgetting(manager.clear),
    }.items():
        setattr(manager, name, replacement)


def put_before(manager: AddonManager, addon: Any, other: str) -> None:
    """Move *addon*, registered last, before the addon named *other*."""
    manager.chain.remove(addon)
    manager.chain.insert(manager.chain.index(manager.lookup[other]), addon)


def _plan(manager: AddonManager, name: str) -> list[_Group]:
    groups = [[h for a in traverse([addon]) if callable(h := getattr(a, name, None))] for addon in manager.chain]
    return [group for group in groups if group]
