"""Housekeeper: starts a process that maintains the recordings when there is work.

The process, ``weir.recorder.upkeep``, runs at low priority beside the gateway, so that no request waits for it. It
holds a lock, so that only one of several workers does the work. It exits after one round.
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

#: Seconds from a seal to the process, and from a start without pending work.
SETTLE = 5.0
_FIRST = 60.0
#: Seconds until the next try if another process holds the lock, or the process failed.
_ELSEWHERE = 30.0
#: Seconds between two looks for a removed index.
_LOOK = 2.0
_SOURCE = str(Path(weir.__file__).resolve().parents[1])


class Housekeeper:
    """Starts the process after segments were sealed, and at the time that the last process asked for."""

    def __init__(self, asked: Callable[[], dict[str, Any]], lost: Callable[[], bool], *, soon: bool) -> None:
        """Start the thread.

        *asked* returns the input of the process: the folder, the retention times and the targets of checkpoints.
        *lost* returns whether the index was removed; a round makes it again. *soon* means that there is work already.
        """
        self._asked = asked
        self._lost = lost
        self._began = time.monotonic() - _ELSEWHERE  # of the last round
        self._stopping = False
        self._changed = threading.Condition()
        self._due = time.monotonic() + (SETTLE if soon else _FIRST)
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="weir housekeeper", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Schedule a round, because a segment was sealed. Does not wait."""
        with self._changed:
            soon = time.monotonic() + SETTLE
            if self._due > soon:
                self._due = soon
                self._changed.notify()

    def stop(self) -> None:
        """Start no more processes and end the running one, which is safe at any moment. Blocks for a moment."""
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
                    self._changed.wait(min(left, _LOOK))
                    if self._lost():
                        self._due = min(self._due, self._began + _ELSEWHERE)
                if self._stopping:
                    return
                self._began = time.monotonic()
                self._due = self._began + _ELSEWHERE
            try:
                again = self._round()
            except Exception as error:  # the thread must go on
                alarm("housekeeping_failed", f"the recordings are not maintained: {type(error).__name__}")
                continue
            with self._changed:
                self._due = min(self._due, time.monotonic() + again) if again < _ELSEWHERE else time.monotonic() + again

    def _round(self) -> float:
        """Run the process once. Return the seconds until the next round."""
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
            alarm("housekeeping_failed", f"the recordings are not maintained: {said[-1][:200] if said else code}")
            return _ELSEWHERE
        told: dict[str, Any] = {"again": _ELSEWHERE, "problems": []}
        with contextlib.suppress(ValueError):
            told = json.loads(out)
        for problem in told["problems"]:
            alarm("housekeeping_failed", problem)
        return float(told["again"])
