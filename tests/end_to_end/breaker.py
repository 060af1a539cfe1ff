"""A mitmproxy script that makes any part of the data path raise, named by the file in WEIR_BREAK_FILE.

The parts are every step of every list (``request.head.route``), the hooks of Stack, the functions that record, and the
public methods of what meets connections.
"""

import functools
import inspect
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from mitmproxy import ctx

FILE = Path(os.environ["WEIR_BREAK_FILE"])


def broken_call(original: Any, label: str) -> Any:
    """*original*, that raises while the file says *label*; with ``!`` behind it, what would end a process."""

    def check() -> None:
        if FILE.read_text() == f"{label}!":
            raise SystemExit(3)
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

    return broken


def breakable(owner: Any, name: str, label: str) -> None:
    """Have ``owner.name`` raise while the file says *label*."""
    setattr(owner, name, broken_call(getattr(owner, name), label))


def load(loader: Any) -> None:
    """Wrap every step of every list, and what is around the lists."""
    from weir.path import conversations, outcomes
    from weir.path.steps import answer, credential, messages, record

    stack = ctx.master.addons.get("weir")
    for (kind, phase), steps in list(stack.paths.items()):
        stack.paths[kind, phase] = tuple(
            replace(step, call=broken_call(step.call, f"{kind}.{phase}.{step.name}")) for step in steps
        )
    for room, label in (
        (stack.wire, "wire"),
        (stack.tls, "tls"),
        (stack.websockets, "websockets"),
        (stack.rooms.records, "records"),
    ):
        for name, _ in inspect.getmembers(room, callable):
            if not name.startswith("_"):
                breakable(room, name, f"{label}.{name}")
    for hook in ("requestheaders", "request", "responseheaders", "response", "http_connect"):
        breakable(stack, hook, f"stack.{hook}")
    for hook in ("tls_start_client", "tls_start_server"):
        breakable(stack.connections, hook, f"connections.{hook}")
    for module, name in (
        (outcomes, "copy_request"), (record, "record_body"), (record, "mask_record_head"), (record, "scrubber"),
        (credential, "scrubbed"), (messages, "scrubbed"), (messages, "scrubber"), (answer, "mask_answer_fields"),
        (conversations, "message_maskers"),
    ):  # fmt: skip
        breakable(module, name, f"{module.__name__.rpartition('.')[2]}.{name}")
