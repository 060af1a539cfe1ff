"""Measures the cost of held requests for other callers, and the time from a decision to its caller's answer.

Two real gateways run beside each other, one with a thousand held requests of 300 documents each. The script measures
the median latency of other requests in short alternating rounds (wrk), and the delay of both event loops without
traffic, while the thousand are asked, and while they are released. Then, with all of them held, it measures the time
from a decision in the shared state to the caller's answer. Needs wrk (apt install wrk).

    .venv/bin/python scripts/bench/approvals.py --rounds 20 --seconds 2
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT), str(HERE)]

from throughput import BIN, CONNECTION, free_port, measure, wait_for, wrk_script

from weir.approvals import lifecycle
from weir.approvals.model import Approval, Person, Vote
from weir.approvals.people import Directory
from weir.auth.local import mint
from weir.state.store import Store, open_store

GATEWAY = """\
version: 1
listen: [http://127.0.0.1:{port}]
issuers: [local]
recordings: {folder}/recordings
state: {state}
held: {{requests: 5000, per_user: 5000, open: 5000}}
"""
RULES = """\
approval: {reviewers: [leads], hold: 10m}
rules:
  - {name: wide, when: {documents: {gt: 200}}, effect: require_approval}
"""
CAROL = Person("local", "urn:weir:local", "carol", ("local/leads",))


class Subject:
    """A gateway with its own shared state."""

    def __init__(self, folder: Path, upstream: int, state: str) -> None:
        self.port, self.lags, self.home, self.state = free_port(), folder / "lags.jsonl", folder / "home", state
        self.url = f"http://127.0.0.1:{self.port}/reranker/v2/rerank"
        (folder / "policies").mkdir(parents=True)
        (folder / "policies/gateway.yaml").write_text(GATEWAY.format(port=self.port, folder=folder, state=state))
        (folder / "policies/reranker.yaml").write_text(CONNECTION.format(upstream=upstream).replace("rules:\n", RULES))
        os.environ["WEIR_HOME"] = str(self.home)
        self.token = mint("bench", ["search"], 86_400).reveal()
        self.script = wrk_script(folder, self.token)
        command = [
            str(BIN / "mitmdump"),
            "-q",
            "-n",
            "--set",
            "weir_listen=true",
            "-s",
            str(ROOT / "addons/gateway.py"),
        ]
        environment = {**os.environ, "BENCH_KEY": "sk-bench-0123456789", "LOOP_LAG": str(self.lags)}
        command += ["-s", str(HERE / "loop_lag.py")]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)

    def store(self) -> Store:
        """Open its shared state."""
        os.environ["WEIR_HOME"] = str(self.home)
        return open_store(self.state)

    def lag(self, since: float, until: float) -> list[tuple[float, float]]:
        """Return (wall, CPU) milliseconds of the longest step in each tenth of a second from *since* to *until*."""
        lines = map(json.loads, self.lags.read_text().splitlines())
        return [(wall, cpu) for at, wall, cpu in lines if since < at <= until]


class Callers:
    """A thousand waiting callers, in a thread with its own event loop."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.answered: dict[str, tuple[float, int]] = {}  # time and status by query
        self._loop = asyncio.new_event_loop()
        self._calls: list[Future[None]] = []  # without a reference, a waiting task would be garbage-collected
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def begin(self, first: int, count: int) -> None:
        """Start *count* more callers; the first has the number *first*."""
        for n in range(first, first + count):
            self._calls.append(asyncio.run_coroutine_threadsafe(self._call(f"held {n}"), self._loop))
            time.sleep(0.015)  # a burst would delay the loop even without holding

    async def _call(self, query: str) -> None:
        documents = [f"{query}: what the document number {n} says, in some words" for n in range(300)]
        body = json.dumps({"model": "rerank-v3.5", "query": query, "documents": documents}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._subject.port)
        head = (
            f"POST /reranker/v2/rerank HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {self._subject.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        line = await reader.readline()
        self.answered[query] = (time.perf_counter(), int(line.split()[1]))
        writer.close()


def approve(store: Store, approval: Approval) -> None:
    """Approve *approval* in the shared state."""
    now = time.time()
    vote = Vote(CAROL, True, "", now)
    store.change_approval(approval.id, lambda a: lifecycle.decide(a, vote, Directory(), now))


def wait_until(what: str, holds: object, seconds: float = 120) -> None:
    """Wait until *holds()* is true."""
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: {what} did not happen")
        time.sleep(0.05)


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--idle", type=int, default=15)
    parser.add_argument("--held", type=int, default=1000)
    parser.add_argument("--decisions", type=int, default=100)
    parser.add_argument("--state", default="sqlite", help="sqlite, or redis://…/N: the databases N and N + 1, empty")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "approvals.json")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is not installed; apt install wrk (or brew install wrk)")
    console = Console(highlight=False)
    halves: dict[str, list[float]] = {"none held": [], "held": []}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        port = free_port()
        upstream = subprocess.Popen([sys.executable, str(HERE / "upstream.py"), str(port)], stdout=subprocess.DEVNULL)
        # The other gateway uses another store of the same kind; for Redis, the next database.
        other = re.sub(r"/(\d+)$", lambda m: f"/{int(m[1]) + 1}", options.state)
        subjects = {
            "none held": Subject(Path(name) / "none", port, other),
            "held": Subject(Path(name) / "held", port, options.state),
        }
        try:
            for subject in subjects.values():
                wait_for(subject.port)
                measure(subject.script, subject.url, 1, 2)
            held, callers = subjects["held"], Callers(subjects["held"])
            store = held.store()
            phases = {"asking": time.time()}
            callers.begin(0, options.held)
            wait_until("holding", lambda: len(store.approvals_in("pending")) + len(callers.answered) >= options.held)
            if callers.answered:
                raise SystemExit(f"bench: {Counter(s for _, s in callers.answered.values())} instead of being held")
            time.sleep(1)
            phases["rounds"] = time.time()
            order = list(subjects)
            for number in track(range(options.rounds), "alternating", console=console):
                for mode in order[number % 2 :] + order[: number % 2]:
                    halves[mode].append(measure(subjects[mode].script, subjects[mode].url, 1, options.seconds)[1])
            phases["idle"] = time.time()
            time.sleep(options.idle)
            phases["deciding"] = time.time()
            latencies = []
            pending = store.approvals_in("pending")
            for approval in pending[: options.decisions]:
                query = approval.shown.query[0]
                began = time.perf_counter()
                approve(store, approval)
                decided = time.perf_counter()
                wait_until("release", lambda query=query: query in callers.answered, 10)
                latencies.append((callers.answered[query][0] - decided, decided - began))
                time.sleep(0.02)
            phases["release"] = time.time()
            for approval in pending[options.decisions :]:
                approve(store, approval)
                time.sleep(0.015)
            wait_until("the release of all", lambda: len(callers.answered) == options.held)
            phases["end"] = time.time()
            store.close()
            times = list(phases.values())
            spans = dict(zip(phases, pairwise(times), strict=False))
            lags = {(phase, mode): subject.lag(*spans[phase]) for phase in spans for mode, subject in subjects.items()}
            rss = {
                mode: int(Path(f"/proc/{s.process.pid}/statm").read_text().split()[1]) * 4096
                for mode, s in subjects.items()
            }
        finally:
            for process in (upstream, *(subject.process for subject in subjects.values())):
                process.terminate()
                process.wait(20)
    statuses = {status for _, status in callers.answered.values()}
    if statuses != {200}:
        raise SystemExit(f"bench: held requests were answered {statuses}")
    ratio = statistics.median(a / b for a, b in zip(halves["held"], halves["none held"], strict=True))
    console.print(
        f"others' median latency: {statistics.median(halves['none held']):.2f} ms with none held, "
        f"{statistics.median(halves['held']):.2f} ms with {options.held}; {ratio:.3f} of it (median of rounds)"
    )
    table = Table(
        "while",
        "held",
        "longest step, wall ms",
        "CPU ms",
        "tenths of a second with a step over 5 ms",
        header_style="bold",
    )
    rows = []
    for (phase, mode), found in lags.items():
        wall, cpu = max((w for w, _ in found), default=0.0), max((c for _, c in found), default=0.0)
        late = sum(c > 5 for _, c in found) / max(1, len(found))
        rows.append({"phase": phase, "mode": mode, "wall_ms": wall, "cpu_ms": cpu, "share_cpu_over_5_ms": late})
        table.add_row(phase, mode, f"{wall:.1f}", f"{cpu:.1f}", f"{late:.1%}")
    console.print(table)
    reached = sorted(r for r, _ in latencies)
    median, p99 = statistics.median(reached) * 1000, reached[int(len(reached) * 0.99) - 1] * 1000
    console.print(
        f"from a decision to its caller's answer: median {median:.0f} ms, 99th percentile {p99:.0f} ms; storing the "
        f"decision took {statistics.median(d for _, d in latencies) * 1000:.1f} ms"
    )
    console.print(f"memory: {rss['none held'] >> 20} MiB with none held, {rss['held'] >> 20} MiB after {options.held}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "ratio": ratio,
        "loop": rows,
        "decision_ms": {"median": median, "p99": p99},
        "state": options.state.partition(":")[0],
    }
    options.json.write_text(json.dumps(figures, indent=1))
    console.print(f"written to {options.json}")


if __name__ == "__main__":
    main()
