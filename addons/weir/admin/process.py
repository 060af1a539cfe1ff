"""The process of ``weir admin``: reads the policies and the shared state like a worker, and serves reviewers.

Workers do not depend on it. While it is down, held requests wait, and no decisions are possible.
"""

import asyncio
import contextlib
import logging
import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from weir.admin.app import Api
from weir.admin.desk import Desk
from weir.admin.notify import Notifier
from weir.approvals import lifecycle
from weir.approvals.model import Approval
from weir.auth.key_tasks import Refreshing
from weir.base.alarms import alarm
from weir.policyset import reload
from weir.policyset.load import load
from weir.policyset.model import PolicySet
from weir.recorder import approvals as lines
from weir.recorder.adoption import adopt
from weir.recorder.events import EventLog
from weir.recorder.evidence import Log, Signer
from weir.recorder.worker import claim_soon
from weir.state.store import Store
from weir.state.watcher import StateUnavailable, Watcher
from weir.tls.server import ListenerTls

logger = logging.getLogger("weir")

#: The folder below ``log`` that this process writes to.
WORKER = "admin"
#: Ciphers of TLS 1.2: with forward secrecy and authenticated encryption only. TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: Seconds between two checks for expired approvals.
SWEEP = 2.0
#: Seconds that finished approvals stay in the shared state. The recordings keep them longer.
KEEP = 7 * 86400.0


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which would end the process before queued lines are written."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing, because `Admin.run` handles the signals."""
        yield


class Admin:
    """One admin process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._policies = load(folder)
        self._state = Watcher()
        recordings = self._policies.recorded
        signer = Signer(recordings)
        adopt(recordings, signer)
        self._lock = claim_soon(recordings, WORKER)
        if self._lock is None:
            raise OSError(f"another weir admin writes to {recordings.root}; stop it first")
        self._log = EventLog(Log(recordings, WORKER, signer), signs=True)
        self._desk = Desk(self._state, self._log.approval, self._log.add)
        self._api = Api(lambda: self._policies, self._state, self._desk)
        self._notifier = Notifier(lambda: self._policies, self._state)
        self._refreshing = Refreshing()
        self._tls: ssl.SSLContext | None = None

    async def run(self) -> None:
        """Serve until a signal arrives. Raises `HomeError` or OSError if the start fails."""
        self._state.start(lambda: None, self._changed, self._policies.state)
        await self._catch_up()
        await self._refreshing.begin(self._policies.issuers)
        listener, tls = self._policies.admin.listener, self._policies.admin.listener.tls
        config = uvicorn.Config(
            self._api.app(), host=listener.host, port=listener.port, log_level="warning", access_log=False,
            server_header=False, proxy_headers=False, limit_concurrency=500, timeout_graceful_shutdown=2,
            ssl_certfile=tls.certificate if tls else None, ssl_keyfile=tls.key if tls else None, ssl_ciphers=_CIPHERS,
        )  # fmt: skip
        config.load()
        self._tls = config.ssl
        server = _Server(config)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._end, server)
        tasks = [
            asyncio.create_task(
                reload.follow(self._folder, self._reload, lambda: self._policies.files), name="policies"
            ),
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self._notifier.run(), name="notify"),
        ]
        logger.info(f"weir: admin on {listener}, policies {self._policies.version[:12]}")
        try:
            await server.serve()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._refreshing.stop()
            await asyncio.to_thread(self._state.stop)
            await asyncio.to_thread(self._log.close)

    def _end(self, server: "_Server") -> None:
        self._api.close()
        server.should_exit = True

    def _changed(self, approvals: list[Approval]) -> None:
        self._api.changed(approvals)
        self._notifier.changed(approvals)

    async def _catch_up(self) -> None:
        """Write and announce the changes that were not written before the last process ended."""
        path = self._policies.recordings / "log" / WORKER / lines.FILE
        try:
            written = (await asyncio.to_thread(path.read_bytes)).splitlines()
        except OSError:
            written = []
        last = lines.last_changed(written[-1000:])
        while found := await self._state.run(lambda store, last=last: store.approvals_after(last)):  # type: ignore[misc]
            for approval in found:
                await asyncio.to_thread(self._log.approval_now, approval)
            self._notifier.changed(found)
            last = found[-1].changed

    async def _sweep(self) -> None:
        forgotten = 0.0
        while True:
            try:
                for approval in await self._state.run(_run_out):
                    self._log.approval(approval)
                if time.monotonic() - forgotten > 3600:
                    forgotten = time.monotonic()
                    await self._state.run(lambda store: store.forget_approvals(time.time() - KEEP))
            except StateUnavailable:
                pass  # the watcher's thread raises the alarm
            except Exception as error:  # the sweep must go on
                alarm("admin_failed", f"the check for expired approvals failed: {type(error).__name__}")
            await asyncio.sleep(SWEEP)

    async def _reload(self, by: str) -> None:
        old = self._policies
        found = await asyncio.to_thread(reload.next_policies, self._folder, old)
        if isinstance(found, PolicySet) and found.admin.listener.where != old.admin.listener.where:
            found = reload.Refused(("admin.listen: changes only with a restart",))
        if isinstance(found, reload.Refused):
            alarm("reload_refused", f"the policies were not reloaded, so the old ones stay: {found.mistakes[0]}")
            return
        await self._refreshing.begin(found.issuers)
        self._policies = found
        self._renew(old.admin.listener.tls, found.admin.listener.tls)
        dropped = [issuer for made_of, issuer in old.issuers.items() if made_of not in found.issuers]
        self._refreshing.keep(found.issuers, dropped)
        logger.info(f"weir: admin: policies {old.version[:12]} -> {found.version[:12]}, reloaded by {by}")

    def _renew(self, old: ListenerTls | None, tls: ListenerTls | None) -> None:
        """Present the certificate of *tls* to new connections if it differs from the *old* one."""
        if self._tls is None or tls is None or tls == old:
            return
        try:
            self._tls.load_cert_chain(tls.certificate, tls.key)
        except OSError as error:  # the files changed again after they were checked
            alarm("admin_failed", f"the certificate of admin.listen was not renewed: {type(error).__name__}")


def _run_out(store: Store) -> list[Approval]:
    """Mark approvals that were not decided or not used in time as expired. Return the newly expired ones."""
    now, found = time.time(), []
    for approval in (*store.approvals_in("pending"), *store.approvals_in("approved")):
        if lifecycle.expire(approval, now) is not None:
            after = store.change_approval(approval.id, lambda a: lifecycle.expire(a, now))
            if after.state == "expired":
                found.append(after)
    return found
