"""Housekeeper: one worker's part in keeping the recordings: it starts a process beside the gateway when there is work.

``weir.recorder.upkeep`` runs apart and at low priority, so that no request waits for it, and under a lock, so
that of several workers one does it. It ends by itself.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import weir
from weir.base.alarms import alarm

#: Seconds from a seal to the process; and from a start, where nothing waits.
SETTLE = 5.0
_FIRST = 60.0
#: Seconds until another look where somebody else was at it.
_ELSEWHERE = 30.0
_SOURCE = str(Path(weir.__file__).resolve().parents[1])


class Housekeeper:
    """Starts the process when segments were sealed, and when the last one said that there would be more to do."""

    def __init__(self, asked: Callable[[], dict[str, Any]], *, soon: bool) -> None:
        """*asked* gives what the process is told: the folder, how long what is kept, where checkpoints go.

        *soon*: there is work already.
        """
        self._asked = asked
        self._stopping = False
        self._changed = threading.Condition()
        self._due = time.monotonic() + (SETTLE if soon else _FIRST)
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="weir housekeeper", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """A segment has been sealed. Does not wait."""
        with self._changed:
            soon = time.monotonic() + SETTLE
            if self._due > soon:
                self._due = soon
                self._changed.notify()

    def stop(self) -> None:
        """Begin no more, and end what runs: it can be ended at any moment. Blocks for a moment."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
            if self._process is not None:
                self._process.terminate()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and (left := self._due - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._stopping:
                    return
                self._due = time.monotonic() + _ELSEWHERE
            try:
                again = self._round()
            except Exception as error:  # it must go on
                alarm("housekeeping_failed", f"the recordings are not kept: {type(error).__name__}")
                continue
            with self._changed:
                self._due = min(self._due, time.monotonic() + again) if again < _ELSEWHERE else time.monotonic() + again

    def _round(self) -> float:
        """Run the process once. Seconds until there is more to do."""
        with self._changed:
            if self._stopping:
                return _ELSEWHERE
            self._process = subprocess.Popen(
                [sys.executable, "-m", "weir.recorder.upkeep"],
                env={**os.environ, "PYTHONPATH": _SOURCE},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        out, error = self._process.communicate(json.dumps(self._asked()).encode())
        code, self._process = self._process.returncode, None
        if code == 3 or self._stopping:
            return _ELSEWHERE
        if code != 0:
            said = error.decode("utf-8", "replace").strip().splitlines()
            alarm("housekeeping_failed", f"the recordings are not kept: {said[-1][:200] if said else code}")
            return _ELSEWHERE
        told: dict[str, Any] = {"again": _ELSEWHERE, "problems": []}
        with contextlib.suppress(ValueError):
            told = json.loads(out)
        for problem in told["problems"]:
            alarm("housekeeping_failed", problem)
        return float(told["again"])
