"""A mitmproxy script for scripts/bench/identity.py: samples the delay of the event loop every millisecond.

It appends a line of JSON every 100 ms to the file that LOOP_LAG names: Unix time, the longest delay in ms, and the
longest step in ms of the loop's own CPU time (which other processes on the machine do not lengthen).
"""

import asyncio
import json
import os
import time
from pathlib import Path


class LoopLag:
    """Samples while the gateway runs."""

    def running(self) -> None:
        """Start sampling."""
        self._file = Path(os.environ["LOOP_LAG"]).open("a", buffering=1)  # noqa: SIM115  # open while the gateway runs
        self._task = asyncio.create_task(self._sample())

    async def _sample(self) -> None:
        while True:
            wall = cpu = 0.0
            end = time.perf_counter() + 0.1
            while (before := time.perf_counter()) < end:
                used = time.thread_time()
                await asyncio.sleep(0.001)
                wall = max(wall, time.perf_counter() - before - 0.001)
                cpu = max(cpu, time.thread_time() - used)
            self._file.write(json.dumps([time.time(), wall * 1000, cpu * 1000]) + "\n")


addons = [LoopLag()]
