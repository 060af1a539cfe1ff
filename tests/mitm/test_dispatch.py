"""Our dispatch calls the same hooks in the same order as mitmproxy's own."""

import asyncio
from typing import Any

import pytest
from mitmproxy import exceptions, hooks, options
from mitmproxy.addonmanager import AddonManager
from mitmproxy.master import Master
from mitmproxy.test import tflow

from weir.mitm.dispatch import install


class Addon:
    def __init__(
        self, name: str, calls: list[str], raises: type[Exception] | None = None, children: list[Any] | None = None
    ) -> None:
        self.name, self._calls, self._raises = name, calls, raises
        if children is not None:
            self.addons = children

    async def update(self, flows: Any) -> None:
        await asyncio.sleep(0)
        self._call()

    def _call(self) -> None:
        self._calls.append(self.name)
        if self._raises:
            raise self._raises


class Silent:
    name = "silent"


@pytest.mark.smoke
@pytest.mark.parametrize("ours", [True, False])
def test_order_errors_children_and_changes(ours: bool) -> None:
    async def run() -> list[str]:
        calls: list[str] = []
        manager: AddonManager = Master(options.Options()).addons
        children = [Addon("child", calls, ZeroDivisionError), Addon("skipped", calls)]
        parent = Addon("parent", calls, None, children)
        manager.add(Addon("first", calls, ValueError), Silent(), parent, Addon("second", calls))
        if ours:
            install(manager)
        event = hooks.UpdateHook([tflow.tflow()])
        await manager.trigger_event(event)
        calls.append("|")
        for child in children:
            manager.remove(child)
        children.clear()
        late = Addon("late", calls, exceptions.AddonHalt)
        manager.add(late, Addon("never", calls))
        await manager.trigger_event(event)
        calls.append("|")
        manager.remove(late)
        await manager.trigger_event(event)
        return calls

    expected = "first parent child second | first parent second late | first parent second never"
    assert asyncio.run(run()) == expected.split()
