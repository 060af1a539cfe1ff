"""Compares the requests per second of one worker with recording on and off, in alternating rounds.

Upstream, body (20 documents, 4 kB) and policies are the same, except for `record: {enabled: false}`. The results are
medians over rounds, each measured side by side. Needs wrk (apt install wrk).

    .venv/bin/python scripts/bench/recording.py --rounds 9 --seconds 4
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from throughput import BIN, CONNECTION, GATEWAY, HERE, ROOT, free_port, measure, wait_for, wrk_script

SUBJECTS = {"off": "record: {enabled: false}\n", "on": "", "synced": "record: {durability: synced}\n"}


def main() -> None:
    """Start one gateway per setting, measure alternately and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is not installed; apt install wrk (or brew install wrk)")
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        folder = Path(name)
        ports = {subject: free_port() for subject in ("upstream", *SUBJECTS)}
        environment = {**os.environ, "WEIR_HOME": str(folder / "home"), "BENCH_KEY": "sk-bench-0123456789"}
        for subject, record in SUBJECTS.items():
            policies = folder / subject / "policies"
            policies.mkdir(parents=True)
            (policies / "gateway.yaml").write_text(GATEWAY.format(port=ports[subject], folder=folder / subject))
            (policies / "reranker.yaml").write_text(CONNECTION.format(upstream=ports["upstream"]) + record)
        token = subprocess.run(
            [BIN / "weir", "token", "--user", "bench", "--group", "search"],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        script = wrk_script(folder, token)
        gateway = [BIN / "mitmdump", "-q", "-n", "--set", "weir_listen=true", "-s", ROOT / "addons/gateway.py"]
        commands = [(folder, [sys.executable, HERE / "upstream.py", str(ports["upstream"])])]
        commands += [(folder / subject, gateway) for subject in SUBJECTS]
        processes = [
            subprocess.Popen(list(map(str, command)), cwd=where, env=environment, stdout=subprocess.DEVNULL)
            for where, command in commands
        ]
        rates: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
        try:
            for port in ports.values():
                wait_for(port)
            for number in range(options.rounds + 1):  # the first warms up
                for subject in SUBJECTS if number % 2 else reversed(SUBJECTS):
                    url = f"http://127.0.0.1:{ports[subject]}/reranker/v2/rerank"
                    rate, _ = measure(script, url, options.connections, options.seconds)
                    if number:
                        rates[subject].append(rate)
                console.print(f"round {number} of {options.rounds}" if number else "warmed up")
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)
    table = Table("recording", "req/s (median)", "min", "max", "of off", header_style="bold")
    for subject, values in rates.items():
        share = statistics.median(a / b for a, b in zip(values, rates["off"], strict=True))
        table.add_row(
            subject, f"{statistics.median(values):.0f}", f"{min(values):.0f}", f"{max(values):.0f}", f"{share:.3f}"
        )
    console.print(table)
    console.print(f"c={options.connections}; shares are medians over rounds, each round measured side by side.")


if __name__ == "__main__":
    main()
