"""Supervision: the processes of ``weir run`` start together, are started again when they end, and stop together.

While a worker is started again, the others serve. All stop if a worker ends before it was ready for the first time,
because its settings are wrong, and if `DEATHS` workers end within `WITHIN` seconds, because the cause will not go away.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence

from weir.base.ready import DESCRIPTOR

#: So many deaths of workers within so many seconds stop all processes.
DEATHS = 5
WITHIN = 60.0

#: Seconds before a process is started again. They double with each end, up to the second value. After a process that
#: ran for longer than the second value, it is the first value again.
_AGAIN = 1.0
_STEADY = 30.0


class Child:
    """One process of the gateway, which can be started again. It reports over a pipe when it is ready."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.due: float | None = None  # when it is started again; None while it runs
        self._command = command
        self._wait = 0.0
        self._proven = False  # it has been ready before
        self.start()

    def start(self) -> None:
        """Start the process."""
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        environment = {**os.environ, DESCRIPTOR: str(writing)}
        self._process = subprocess.Popen(self._command, env=environment, pass_fds=(writing,))  # noqa: S603
        os.close(writing)
        self._began, self.due, self._ready = time.monotonic(), None, False

    @property
    def pid(self) -> int:
        """The process id, also of a process that has ended."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether the process reported that it is ready."""
        if not self._ready:
            with contextlib.suppress(BlockingIOError):
                self._ready = bool(os.read(self._reading, 1))
        return self._ready

    @property
    def serving(self) -> bool:
        """Whether the process is ready and runs."""
        return self.due is None and self.ready

    def ended(self) -> int | None:
        """Return the exit code, negative for a signal, if the process has ended and is not to be started again yet."""
        return self._process.poll() if self.due is None else None

    def again(self) -> float:
        """Set when the process is started again. Return the seconds until then."""
        now = time.monotonic()
        steady = now - self._began > _STEADY
        self._wait = _AGAIN if steady or not self._wait else min(self._wait * 2, _STEADY)
        self.due = now + self._wait
        self._proven = self._proven or self.ready
        os.close(self._reading)
        return self._wait

    def cannot_succeed(self, code: int, *, alone: bool) -> bool:
        """Return whether a start that ended with *code* before it was ready shows that no other start can succeed.

        The settings may have become invalid since an earlier start. The other workers keep the old ones, so the start
        is tried again, unless the process is *alone*.
        """
        return not self.ready and (not self._proven or (alone and code >= 0))

    def send(self, signalled: signal.Signals) -> None:
        """Send a signal if the process runs."""
        self._process.send_signal(signalled)

    def wait(self) -> None:
        """Wait until the process has ended."""
        self._process.wait()


class Supervisor:
    """Runs workers, and beside them the admin process, until a signal comes or the workers cannot run."""

    def __init__(self, workers: list[list[str]], admin: list[str] | None) -> None:
        self._signals: set[int] = set()  # that came, and were not handled
        self._wake = _catch(self._signals, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._workers = [Child("worker", command) for command in workers]
        self._children = [*self._workers, *([Child("admin", admin)] if admin else [])]

    def run(self) -> int:
        """Run until all processes have ended. Return the exit code: 0 after a signal."""
        failure = ""
        while not failure and not self._signals & {signal.SIGTERM, signal.SIGINT}:
            self._sleep()
            failure = self._look_after()
        for child in self._children:
            child.send(signal.SIGTERM)
        for child in self._children:
            child.wait()
        if failure:
            print(f"weir: {failure}", file=sys.stderr)
        return 1 if failure else 0

    def _sleep(self) -> None:
        """Sleep until a signal comes or a process is to be started."""
        due = [child.due for child in self._children if child.due is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        select.select([self._wake], [], [], timeout)
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)

    def _look_after(self) -> str:
        """Handle what happened during the sleep. Return the reason to stop all processes; empty if there is none."""
        if signal.SIGHUP in self._signals:
            self._signals.discard(signal.SIGHUP)
            for worker in self._workers:  # they read the policies again; the admin process watches the files
                if worker.serving:  # one that starts reads the files anyway, and the signal would end it
                    worker.send(signal.SIGHUP)
        for child in self._children:
            if (code := child.ended()) is not None and (failure := self._after_end(child, code)):
                return failure
            if child.due is not None and child.due <= time.monotonic():
                child.start()
        _collect_orphans({child.pid for child in self._children})
        return ""

    def _after_end(self, child: Child, code: int) -> str:
        """Decide whether the ended *child* is started again. Return the reason if all processes must stop."""
        how = f"was killed by {_name(-code)}" if code < 0 else f"ended with code {code}"
        when = "" if child.ready or child not in self._workers else " before it was ready"
        what = f"{child.name} process {child.pid} {how}{when}"
        if child in self._workers:
            alone = not any(worker.serving for worker in self._workers if worker is not child)
            if child.cannot_succeed(code, alone=alone):
                return f"{what}, so all were stopped; correct what its last lines above say, then start again"
            if child.ready or code < 0:
                self._deaths.append(time.monotonic())
            if len(self._deaths) == DEATHS and self._deaths[-1] - self._deaths[0] < WITHIN:
                return (
                    f"{what}, and {DEATHS} workers ended within {WITHIN:.0f} s, so all were stopped; find the cause in "
                    "their last lines above or in the system's log (dmesg shows processes killed for memory), then "
                    "start again"
                )
        print(f"weir: {what}; it is started again in {child.again():.0f} s", file=sys.stderr)
        return ""


def _catch(into: set[int], *signals: signal.Signals) -> socket.socket:
    """Collect *signals* in *into*. Return a socket that becomes readable when one comes."""
    for number in signals:
        signal.signal(number, lambda came, _: into.add(came))
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)
    return reading


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _collect_orphans(ours: set[int]) -> None:
    """Wait for ended processes that are not *ours*: the first process of a container inherits them."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) and ended.si_pid not in ours:
            os.waitpid(ended.si_pid, 0)
