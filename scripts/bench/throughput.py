"""Compares the requests per second of the whole stack, with recording, and of bare `mitmdump -q -w file`.

Each is one process, with the same upstream and body (20 documents, 4 kB). The results are medians over alternating
rounds. The third subject is the floor: mitmdump trimmed to its proxy core, without addons of Weir. Needs wrk (apt
install wrk).

    .venv/bin/python scripts/bench/throughput.py --rounds 7 --seconds 4
"""

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
SUBJECTS = ("bare", "floor", "weir")

GATEWAY = "version: 1\nlisten: [http://127.0.0.1:{port}]\nissuers: [local]\nrecordings: {folder}/recordings\n"
CONNECTION = """\
version: 1
connection: reranker
profile: cohere
upstream: http://127.0.0.1:{upstream}
match: {{path: /reranker}}
credential: {{header: Authorization, value: "Bearer ${{env:BENCH_KEY}}"}}
access: {{groups: [search]}}
limits: [{{rate: 100000000/minute, per: user}}]
rules:
  - {{name: no-huge-reranks, when: {{documents: {{gt: 1000}}}}, effect: deny}}
  - {{name: models, when: {{model: {{not_in: [rerank-v3.5]}}}}, effect: deny}}
masks:
  - {{fields: ["$.documents[*].user_id", "$.results[*].document.user_id"], with: hash}}
"""


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until a process accepts connections on *port*."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"bench: nothing listens on {port} after 30 s")


def wrk_script(folder: Path, token: str) -> Path:
    """Write the wrk script with the request: 20 documents, 4 kB."""
    documents = [f"{i:02d} " + "a sentence of a document that is to be ranked, " * 4 for i in range(20)]
    body = json.dumps({"model": "rerank-v3.5", "query": "what is it about?", "documents": documents, "top_n": 10})
    script = folder / "request.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = [[{body}]]\n"
        f"wrk.headers['Content-Type'] = 'application/json'\nwrk.headers['Authorization'] = 'Bearer {token}'\n"
    )
    script.chmod(0o600)
    return script


def measure(script: Path, url: str, connections: int, seconds: int) -> tuple[float, float]:
    """Return (requests per second, p50 in ms) of one round. Stop the bench if an answer is not 2xx."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"bench: {url} did not answer every request:\n{done.stdout}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    half = re.search(r"50%\s+([\d.]+)(us|ms|s)", done.stdout)
    assert rate and half
    return float(rate[1]), float(half[1]) * {"us": 0.001, "ms": 1, "s": 1000}[half[2]]


def main() -> None:
    """Start everything, measure alternately, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", type=Path, default=HERE / "results" / "throughput.json")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is not installed; apt install wrk (or brew install wrk)")
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        folder = Path(name)
        ports = {subject: free_port() for subject in ("upstream", *SUBJECTS)}
        environment = {**os.environ, "WEIR_HOME": str(folder / "home"), "BENCH_KEY": "sk-bench-0123456789"}
        (folder / "policies").mkdir()
        (folder / "policies/gateway.yaml").write_text(GATEWAY.format(port=ports["weir"], folder=folder))
        (folder / "policies/reranker.yaml").write_text(CONNECTION.format(upstream=ports["upstream"]))
        token = subprocess.run(
            [BIN / "weir", "token", "--user", "bench", "--group", "search"],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        script = wrk_script(folder, token)
        mitmdump = str(BIN / "mitmdump")

        def reverse(subject: str) -> list[str]:
            return ["--mode", f"reverse:http://127.0.0.1:{ports['upstream']}@127.0.0.1:{ports[subject]}"]

        commands = {
            "upstream": [sys.executable, str(HERE / "upstream.py"), str(ports["upstream"])],
            "bare": [mitmdump, "-q", *reverse("bare"), "-w", str(folder / "bare.mitm")],
            "floor": [
                mitmdump,
                "-q",
                *reverse("floor"),
                "--set",
                "connection_strategy=lazy",
                "-s",
                str(HERE / "floor.py"),
            ],
            "weir": [mitmdump, "-q", "-n", "--set", "weir_listen=true", "-s", str(ROOT / "addons/gateway.py")],
        }
        processes = [
            subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
            for command in commands.values()
        ]
        try:
            for port in ports.values():
                wait_for(port)
            paths = {"bare": "/v2/rerank", "floor": "/v2/rerank", "weir": "/reranker/v2/rerank"}
            rates: dict[tuple[str, int], list[float]] = {(s, c): [] for s in SUBJECTS for c in (1, 16)}
            halves: dict[tuple[str, int], list[float]] = {key: [] for key in rates}
            for number in range(options.rounds + 1):  # the first warms up
                for connections in (1, 16):
                    order = SUBJECTS if number % 2 else SUBJECTS[::-1]
                    for subject in order:
                        url = f"http://127.0.0.1:{ports[subject]}{paths[subject]}"
                        rate, half = measure(script, url, connections, options.seconds)
                        if number:
                            rates[subject, connections].append(rate)
                            halves[subject, connections].append(half)
                console.print(f"round {number} of {options.rounds}" if number else "warmed up")
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)
    report(console, options.json, rates, halves)


def report(
    console: Console,
    target: Path,
    rates: dict[tuple[str, int], list[float]],
    halves: dict[tuple[str, int], list[float]],
) -> None:
    """Print the table, and write it as JSON."""
    table = Table("", "c", "req/s (median)", "min", "max", "p50 ms", "of bare -w", "of floor", header_style="bold")
    rows = []
    for (subject, connections), values in rates.items():
        pairs = {
            other: statistics.median(a / b for a, b in zip(values, rates[other, connections], strict=True))
            for other in ("bare", "floor")
        }
        row = {
            "subject": subject, "connections": connections, "requests_per_second": statistics.median(values), "rounds": values,
            "p50_ms": statistics.median(halves[subject, connections]), "ratio_to_bare": pairs["bare"], "ratio_to_floor": pairs["floor"],
        }  # fmt: skip
        rows.append(row)
        table.add_row(
            subject, str(connections), f"{row['requests_per_second']:.0f}", f"{min(values):.0f}", f"{max(values):.0f}",
            f"{row['p50_ms']:.2f}", f"{pairs['bare']:.2f}", f"{pairs['floor']:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print("Ratios are medians over rounds, each round measured side by side.")
    target.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    target.write_text(json.dumps({"machine": machine, "results": rows}, indent=1))
    console.print(f"written to {target}")


if __name__ == "__main__":
    main()
