"""Compares CPU per request and requests per second of two checkouts, with one worker each, in alternating rounds.

Both serve the same rerank (20 documents, 4 kB; with limits, rules, a mask and recording). Each round measures one after
the other, and the order alternates. The result is the ratio new / old: the geometric mean over rounds with its 95 %
interval (Student's t on the logarithms). CPU is the user and system time of the gateway's process. Needs wrk (apt
install wrk) and Linux. Each checkout needs its own .venv (scripts/setup).

    git worktree add ../old main~1 && ../old/scripts/setup
    .venv/bin/python scripts/bench/commits.py ../old --rounds 9
"""

import argparse
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from throughput import CONNECTION, GATEWAY, HERE, ROOT, free_port, wait_for, wrk_script

#: 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom. The last one also serves for more.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(script: Path, url: str, pid: int, connections: int, seconds: int) -> tuple[float, float]:
    """Return (CPU ms per request, requests per second) of one round. Stop the bench if an answer is not 2xx."""
    before = cpu_seconds(pid)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"bench: {url} did not answer every request:\n{done.stdout}")
    count, rate = re.search(r"(\d+) requests in", done.stdout), re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert count and rate
    return (cpu_seconds(pid) - before) / int(count[1]) * 1000, float(rate[1])


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of *ratios* and its 95 % interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    half = _T[min(len(logs) - 1, len(_T)) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def main() -> None:
    """Start both gateways, measure alternately and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is not installed; apt install wrk (or brew install wrk)")
    if options.rounds < 2:
        raise SystemExit("bench: an interval needs at least two rounds")
    console = Console(highlight=False)
    checkouts = {"old": options.old.resolve(), "new": ROOT}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        folder, environment = Path(name), {**os.environ, "BENCH_KEY": "sk-bench-0123456789"}
        environment.pop("PYTHONPATH", None)
        upstream = free_port()
        processes = {"upstream": subprocess.Popen([sys.executable, str(HERE / "upstream.py"), str(upstream)])}
        try:
            wait_for(upstream)
            scripts, urls = dict[str, Path](), dict[str, str]()
            for subject, root in checkouts.items():
                home, port = folder / subject, free_port()
                (home / "policies").mkdir(parents=True)
                (home / "policies/gateway.yaml").write_text(GATEWAY.format(port=port, folder=home))
                (home / "policies/reranker.yaml").write_text(CONNECTION.format(upstream=upstream))
                own = {**environment, "WEIR_HOME": str(home / "home")}
                token = subprocess.run(
                    [root / ".venv/bin/weir", "token", "--user", "bench", "--group", "search"],
                    env=own, capture_output=True, text=True, check=True,
                ).stdout.strip()  # fmt: skip
                scripts[subject], urls[subject] = wrk_script(home, token), f"http://127.0.0.1:{port}/reranker/v2/rerank"
                command = [root / ".venv/bin/mitmdump", "-q", "-n", "--set", "weir_listen=true"]
                processes[subject] = subprocess.Popen(
                    [*command, "-s", str(root / "addons/gateway.py")], cwd=home, env=own, stdout=subprocess.DEVNULL
                )
                wait_for(port)
            found: dict[tuple[str, int], list[tuple[float, float]]] = {}
            for number in range(options.rounds + 1):  # the first warms up
                for connections in options.connections:
                    for subject in sorted(checkouts, reverse=bool(number % 2)):
                        one = measure(
                            scripts[subject], urls[subject], processes[subject].pid, connections, options.seconds
                        )
                        if number:
                            found.setdefault((subject, connections), []).append(one)
                console.print(f"round {number} of {options.rounds}" if number else "warmed up")
        finally:
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                process.wait(20)
    report(console, options.connections, found)


def report(console: Console, connections: list[int], found: dict[tuple[str, int], list[tuple[float, float]]]) -> None:
    """Print the table."""
    table = Table("", "c", "old (median)", "new (median)", "new / old", "95 % interval", header_style="bold")
    for number, what in enumerate(("CPU ms per request", "requests per second")):
        for c in connections:
            old, new = ([one[number] for one in found[subject, c]] for subject in ("old", "new"))
            mean, low, high = interval([b / a for a, b in zip(old, new, strict=True)])
            table.add_row(
                what, str(c), f"{statistics.median(old):.3f}", f"{statistics.median(new):.3f}", f"{mean:.3f}",
                f"{low:.3f} to {high:.3f}",
            )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()
