"""A mitmproxy script that makes any part of the data path raise, named by the file in WEIR_BREAK_FILE."""

import functools
import inspect
import os
from pathlib import Path
from typing import Any

from mitmproxy import ctx

FILE = Path(os.environ["WEIR_BREAK_FILE"])


def breakable(owner: Any, name: str, label: str) -> None:
    """Have ``owner.name`` raise while the file says *label*."""
    original = getattr(owner, name)

    def check() -> None:
        if FILE.read_text() == label:
            raise ZeroDivisionError(f"broken on purpose, with sk-secret-in-a-message in {label}")

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def broken(*args: Any, **kwargs: Any) -> Any:
            check()
            return await original(*args, **kwargs)
    else:

        @functools.wraps(original)
        def broken(*args: Any, **kwargs: Any) -> Any:
            check()
            return original(*args, **kwargs)

    setattr(owner, name, broken)


def load(loader: Any) -> None:
    """Wrap every public method of every room, and the hooks of Stack itself."""
    stack = ctx.master.addons.get("weir")
    for room in (
        "routing",
        "auth",
        "profiles",
        "policy",
        "masking",
        "credentials",
        "replay",
        "recorder",
        "wire",
        "tls",
        "websockets",
    ):
        for name, _ in inspect.getmembers(getattr(stack, room), callable):
            if not name.startswith("_") and name not in ("start", "stop"):
                breakable(getattr(stack, room), name, f"{room}.{name}")
    for hook in (
        "requestheaders", "request", "responseheaders", "response", "http_connect",
    ):  # fmt: skip
        breakable(stack, hook, f"stack.{hook}")
    for hook in ("tls_start_client", "tls_start_server"):
        breakable(stack.connections, hook, f"connections.{hook}")
