"""mitmproxy's event dispatch, without asking every addon about every event.

Stock dispatch walks all addons twice for each flow event (once for the event, once for ``update``) and
looks the hook up each time: with a dozen addons about half a millisecond a request. Here the hooks
of each event are looked up once for a given chain. Order, the try around each top-level addon,
`AddonHalt` and awaiting are as in `mitmproxy.addonmanager`, and a test holds the two against each
other. Addons that hold other addons (scripts, which come and go) are walked each time as before.
"""

import inspect
from collections.abc import Callable
from typing import Any

from mitmproxy import exceptions, hooks
from mitmproxy.addonmanager import AddonManager, safecall


class _Nested:
    """An element whose own addons may change at any time."""

    __slots__ = ("addon",)

    def __init__(self, addon: Any) -> None:
        self.addon = addon


def install(manager: AddonManager) -> None:
    """Let *manager* dispatch its asynchronous events this way."""
    chain_seen: list[Any] = []
    plans: dict[str, list[Callable[..., Any] | _Nested]] = {}

    def plan(name: str) -> list[Callable[..., Any] | _Nested]:
        found: list[Callable[..., Any] | _Nested] = []
        for addon in manager.chain:
            if hasattr(addon, "addons"):
                found.append(_Nested(addon))
            elif callable(hook := getattr(addon, name, None)):
                found.append(hook)
        return found

    async def trigger_event(event: hooks.Hook) -> None:
        nonlocal chain_seen
        if manager.chain != chain_seen:
            chain_seen = list(manager.chain)
            plans.clear()
        steps = plans.get(event.name)
        if steps is None:
            steps = plans[event.name] = plan(event.name)
        for step in steps:
            try:
                if isinstance(step, _Nested):
                    if not step.addon.addons and not hasattr(step.addon, event.name):
                        continue
                    with safecall():
                        await manager.invoke_addon(step.addon, event)
                else:
                    with safecall():
                        result = step(*event.args())
                        if result is not None and inspect.isawaitable(result):
                            await result
            except exceptions.AddonHalt:
                return

    setattr(manager, "trigger_event", trigger_event)  # noqa: B010  # a method of this instance only
