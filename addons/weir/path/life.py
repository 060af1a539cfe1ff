"""Life: start, reload, drain and stop.

The gateway accepts requests when the policies are valid and the recorder works. A reload replaces all policies, or
keeps all old ones. A stopping gateway refuses new requests, waits for the requests under way, and writes all records.
After `DRAIN` seconds, `cutting.py` ends those that are left.
"""

import asyncio
import contextlib
import dataclasses
import functools
import io
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import mode_specs
from mitmproxy.utils import human

from weir.auth.key_tasks import Refreshing
from weir.base import bounds, ports
from weir.base.alarms import alarm, counters, place
from weir.base.home import HomeError, operator_name
from weir.base.mistakes import ConfigError
from weir.base.ready import report_ready
from weir.mitm import hardening, listening
from weir.mitm.clients import Connections
from weir.mitm.wire import Wire
from weir.path.conversations import WebSockets
from weir.path.rooms import Rooms
from weir.path.steps.replay import ALLOWANCES
from weir.policyset import reload
from weir.policyset.load import folder_path, load
from weir.policyset.model import PolicySet
from weir.routing.model import is_loopback

logger = logging.getLogger("weir")

#: Seconds that a stopping gateway waits for requests under way.
DRAIN = 10.0
#: Seconds that a replayed request waits until the gateway is ready.
STARTUP = 30.0


class Unrecorded(Protocol):
    """Count the exchanges without a record. With *finish*, record them."""

    async def __call__(self, *, finish: bool) -> int: ...


class Life:
    """The gateway's process: its options, policies and tasks."""

    name = "weir-life"

    def __init__(
        self,
        rooms: Rooms,
        wire: Wire,
        connections: Connections,
        websockets: WebSockets,
        cut_revoked: Callable[[], None],
        unrecorded: Unrecorded,
    ) -> None:
        self.policies: PolicySet | None = None  # None before they are loaded
        self._rooms = rooms
        self._wire = wire
        self._connections = connections
        self._websockets = websockets
        self._cut_revoked = cut_revoked
        self._unrecorded = unrecorded
        self._ready = asyncio.Event()
        self._stopping = False
        self._announced = False  # it recorded that it is ready
        self._failures = listening.Failures()
        self._body_limited = False
        self._tasks: list[asyncio.Task[None]] = []
        self._refreshing = Refreshing()
        self._reloading = asyncio.Lock()

    def taking(self) -> PolicySet | None:
        """Return the policies for new requests; None while the gateway starts or stops."""
        return None if self._stopping else self.policies

    async def until_ready(self) -> None:
        """Wait until the gateway is ready, at most `STARTUP` seconds."""
        with contextlib.suppress(TimeoutError):  # then the request is refused as not ready
            async with asyncio.timeout(STARTUP):
                await self._ready.wait()

    # Start.

    def load(self, loader: Loader) -> None:
        """Declare Weir's options, and set the mitmproxy options that keep the gateway closed."""
        loader.add_option("weir_policies", str, "", "Folder of Weir's policies (default: WEIR_POLICIES, or policies).")
        loader.add_option("weir_listen", bool, False, "Open the listeners of gateway.yaml even with --no-server.")
        loader.add_option("weir_reuse_port", bool, False, "Share the listeners' ports with other workers.")
        loader.add_option(
            "weir_replay_allow",
            str,
            "",
            f"Recorded requests that client replay may send although they would be refused: {', '.join(ALLOWANCES)}.",
        )
        self._body_limited = ctx.options.body_size_limit is not None  # set by the operator
        self._failures.watch()
        hardening.set_options()
        hardening.raise_descriptors()
        if isinstance(sys.stdout, io.TextIOWrapper):  # mitmproxy's log goes there
            # A pipe or file gets each line at once and whole, so lines of several workers do not mix.
            sys.stdout.reconfigure(line_buffering=True, write_through=False)

    async def running(self) -> None:
        """Read the policies and start the recorder. Then become ready and listen."""
        rooms = self._rooms
        try:
            hardening.refuse_options()
            given = hardening.given_modes()
            policies = load(folder_path(ctx.options.weir_policies))
            if policies.trusts_local:
                _refuse_open_listeners(given)
            _check_allowances()
            listens = not given and (ctx.options.server or ctx.options.weir_listen)
            if listens:
                await _check_ports(policies)
            rooms.replay.start(policies)
            await rooms.limits.use(policies)
            rooms.state.start(self._cut_revoked, rooms.approvals.changed, policies.state)
            rooms.recorder.start(policies)
            await rooms.approvals.start(f"{platform.node()} {policies.recordings.resolve()} {rooms.recorder.worker}")
        except ConfigError as error:
            for mistake in error.mistakes:
                logger.error(str(mistake))
            return
        except (hardening.HardeningError, HomeError, RuntimeError) as error:
            logger.error(f"weir: {error}")
            return
        except OSError as error:
            logger.error(
                f"weir: recordings: {error.filename or ''} {error.strerror or error}; make it writable, or "
                "change `recordings:` in gateway.yaml"
            )
            return
        self._use_bounds(policies)
        self.policies = policies
        await self._begin_tasks(policies)
        rooms.garbage.start()
        self._ready.set()
        if ctx.options.client_replay and not os.environ.get("WEIR_TOKEN"):
            logger.warning(
                "weir: WEIR_TOKEN is not set, so every replayed request is refused; set the operator's token"
            )
        modes = [listener.spec for listener in policies.listeners]
        if listens and not await listening.open_all(modes, shared=ctx.options.weir_reuse_port):
            return
        counters["started"] += 1
        self._announced = True
        rooms.recorder.event("gateway_ready", operator_name(), new=policies.version)
        logger.info(
            f"weir: ready as worker {rooms.recorder.worker}, process {os.getpid()}, policies {policies.version[:12]}"
        )
        report_ready()

    async def _begin_tasks(self, policies: PolicySet) -> None:
        self._tasks.append(asyncio.create_task(self._connections.watch.run(), name="bounds"))
        self._tasks.append(asyncio.create_task(self._websockets.run(), name="websockets"))
        self._tasks.append(asyncio.create_task(self._wire.follow_addresses(lambda: self.policies), name="addresses"))
        await self._refreshing.begin(policies.issuers)
        put_in_place = functools.partial(self._reload, policies.folder)
        following = reload.follow(policies.folder, put_in_place, self._files)
        self._tasks.append(asyncio.create_task(following, name="policies"))
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # no signals on this platform
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up, policies.folder)

    # Reload.

    def _use_bounds(self, policies: PolicySet) -> None:
        found = policies.bounds
        if self._body_limited:
            by_hand = human.parse_size(ctx.options.body_size_limit) or 0
            found = dataclasses.replace(found, body=by_hand, answer=by_hand)
        else:  # mitmproxy's limit is the same for both directions; `mitm.stream.Stream` applies each one first
            ctx.options.update(body_size_limit=str(min(found.body, found.answer)))
        bounds.use(found)

    def _files(self) -> Iterable[Path]:
        return self.policies.files if self.policies is not None else ()

    def _hang_up(self, folder: Path) -> None:
        self._tasks.append(asyncio.create_task(self._reload(folder, "SIGHUP"), name="reload"))

    async def _reload(self, folder: Path, by: str) -> None:
        """Replace the policies by those in *folder*, all or none. If none, log the reason."""
        async with self._reloading:
            old = self.policies
            if old is None:
                return
            try:
                found = await asyncio.to_thread(reload.next_policies, folder, old)
                if isinstance(found, PolicySet):
                    if found.trusts_local:
                        _refuse_open_listeners(hardening.given_modes())
                    self._rooms.replay.start(found)
                    await self._rooms.limits.use(found)
                    await self._refreshing.begin(found.issuers)
            except hardening.HardeningError as error:
                found = reload.Refused((str(error),))
            except Exception as error:  # on any error, the gateway continues with the old policies
                found = reload.Refused((f"{type(error).__name__} at {place(error)}",))
            if isinstance(found, reload.Refused):
                message = "\n".join(found.mistakes)
                self._refreshing.keep(old.issuers)
                self._rooms.recorder.event("reload_refused", by, old=old.version, message=message)
                alarm("reload_refused", f"the policies were not reloaded, the old ones stay: {found.mistakes[0]}")
                return
            self._use_bounds(found)
            self.policies = found
            self._rooms.recorder.use(found)
            self._rooms.approvals.reloaded()
            if found.reviewed and not old.reviewed:
                alarm(
                    "no_reviewers_process",
                    "the policies name reviewers now: start `weir admin`, or restart `weir run`, which starts it "
                    "beside the gateway",
                    level=logging.WARNING,
                )
            self._refreshing.keep(
                found.issuers, [i for made_of, i in old.issuers.items() if made_of not in found.issuers]
            )
            if found.version != old.version:
                self._rooms.recorder.event("reload", by, old=old.version, new=found.version)
            self._tasks = [task for task in self._tasks if not task.done()]
            logger.info(f"weir: policies {old.version[:12]} -> {found.version[:12]}, reloaded by {by}")

    # Stop.

    async def done(self) -> None:
        """Refuse new requests, wait for the requests under way, and write all records."""
        rooms, self._stopping = self._rooms, True
        rooms.approvals.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._refreshing.stop()
        await listening.close_all()
        deadline = time.monotonic() + DRAIN
        await self._websockets.stop()
        while (self._websockets or await self._unrecorded(finish=False)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await self._websockets.give_up()
        await self._unrecorded(finish=True)
        rooms.garbage.stop()
        if self._announced:
            rooms.recorder.event("gateway_stopped", "")
        await asyncio.to_thread(rooms.recorder.stop)
        await asyncio.to_thread(rooms.identity.stop)
        await asyncio.to_thread(rooms.state.stop)
        await rooms.limits.stop()


async def _check_ports(policies: PolicySet) -> None:
    """Raise `HardeningError` if a listener of gateway.yaml cannot be opened, before anything is recorded."""
    await listening.close_all()  # mitmproxy's own *:8080
    for listener in policies.listeners:
        host, port = listener.host, listener.port
        why = await asyncio.to_thread(ports.obstacle, host, port, shared=ctx.options.weir_reuse_port)
        if why:
            raise hardening.HardeningError(f"cannot listen on {listener} ({why}); {listening.OTHER_PORT}")


def _refuse_open_listeners(modes: list[mode_specs.ProxyMode]) -> None:
    for mode in modes:
        host = mode.listen_host(ctx.options.listen_host)
        if not is_loopback(host):
            raise hardening.HardeningError(
                f"--mode {mode.full_spec} listens beyond loopback while the issuer 'local' is trusted; "
                "name a loopback host, or remove 'local' from gateway.yaml"
            )


def _check_allowances() -> None:
    for word in filter(None, (w.strip() for w in ctx.options.weir_replay_allow.split(","))):
        if word not in ALLOWANCES:
            raise hardening.HardeningError(f"weir_replay_allow: {word!r} is not one of {', '.join(ALLOWANCES)}")
