"""Measures the cost of identity: verification, a slow or silent provider, and a flood of invented key ids.

First, the microseconds per token in this process. Then three real gateways run beside each other. After they have
fetched keys, their providers answer at once, in 5 s, or never, and a fetch is always running. The script measures good
callers' median latency in many short alternating rounds (wrk), and then, without traffic, the delay of all three event
loops at the same time. Last, it sends ten thousand invented key ids. Needs wrk (apt install wrk).

    .venv/bin/python scripts/bench/identity.py --rounds 30 --seconds 2
"""

import argparse
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from rich.console import Console
from rich.progress import track
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT), str(HERE)]

from tests.auth.misbehaving import Behaviour, Provider
from throughput import BIN, CONNECTION, free_port, measure, wait_for, wrk_script

from weir.auth.claims import ClaimRules
from weir.auth.issuer import Issuer
from weir.auth.keys import read_key_set
from weir.auth.verifier import Verifier
from weir.base.jsonpath import compile_path

GATEWAY = """\
version: 1
listen: [http://127.0.0.1:{port}]
issuers: [{{name: acme, issuer: {issuer}, audience: weir}}]
recordings: {folder}/recordings
"""
MODES = {"at once": Behaviour(), "in 5 s": Behaviour(delay=5.0), "never": Behaviour(silent=True)}
FLOOD = 10_000


def verification(console: Console) -> dict[str, float]:
    """Print and return the microseconds per token, when it is verified and when it is remembered."""
    rules = ClaimRules("acme", "https://idp.example", frozenset(("weir",)), compile_path("$.groups"))
    ec_key, rsa_key = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    keys = [
        {**ECAlgorithm.to_jwk(ec_key.public_key(), as_dict=True), "kid": "ES256"},
        {**RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True), "kid": "RS256"},
    ]
    now = time.time()
    key_set = read_key_set(json.dumps({"keys": keys}).encode())
    figures: dict[str, float] = {}
    for name, key in (("RS256", rsa_key), ("ES256", ec_key)):
        claims = {"iss": "https://idp.example", "aud": "weir", "sub": "alice", "groups": ["search"] * 10}
        tokens = [
            jwt.encode({**claims, "iat": int(now), "exp": int(now) + 600, "jti": str(i)}, key, name, {"kid": name})
            for i in range(500)
        ]
        cold, warm = [], []
        for _ in range(5):
            verifier = Verifier([Issuer(rules, key_set)])
            cold.append(timed(lambda: [verifier.verify(t, now) for t in tokens]) / len(tokens))  # noqa: B023
            warm.append(timed(lambda: [verifier.verify(t, now) for t in tokens]) / len(tokens))  # noqa: B023
        figures[f"{name} verified"], figures[f"{name} remembered"] = statistics.median(cold), statistics.median(warm)
    for name, microseconds in figures.items():
        console.print(f"{name:20} {microseconds:7.1f} us")
    return figures


def timed(work: Callable[[], object]) -> float:
    """Return the microseconds that *work* takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6


class Subject:
    """A gateway with its own provider."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self.provider, self.port, self.lags = Provider(), free_port(), folder / "lags.jsonl"
        self.token = self.provider.token("bench", exp=int(time.time()) + 86_400)
        self.url = f"http://127.0.0.1:{self.port}/reranker/v2/rerank"
        (folder / "policies").mkdir(parents=True)
        (folder / "policies/gateway.yaml").write_text(
            GATEWAY.format(port=self.port, folder=folder, issuer=self.provider.url)
        )
        (folder / "policies/reranker.yaml").write_text(CONNECTION.format(upstream=upstream))
        self.script = wrk_script(folder, self.token)
        self._client = httpx.Client()
        command = [
            str(BIN / "mitmdump"),
            "-q",
            "-n",
            "--set",
            "weir_listen=true",
            "-s",
            str(ROOT / "addons/gateway.py"),
        ]
        environment = {
            **os.environ,
            "WEIR_HOME": str(folder / "home"),
            "BENCH_KEY": "sk-bench-0123456789",
            "LOOP_LAG": str(self.lags),
        }
        command += ["-s", str(HERE / "loop_lag.py")]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)

    def forge(self, number: int, timeout: float) -> int:
        """Return the status for an invented key id; 0 if the answer takes longer than *timeout* seconds."""
        _, payload, signature = self.token.split(".")
        head = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": f"made-up-{number}"}).encode()).decode()
        headers = {"Authorization": f"Bearer {head.rstrip('=')}.{payload}.{signature}"}
        try:
            body = {"query": "q", "documents": ["a"]}
            return self._client.post(self.url, json=body, headers=headers, timeout=timeout).status_code
        except httpx.TimeoutException:
            return 0

    def lag(self, since: float) -> list[tuple[float, float]]:
        """Return (wall, CPU) milliseconds of the longest step in each tenth of a second since *since* (Unix time)."""
        lines = map(json.loads, self.lags.read_text().splitlines())
        return [(wall, cpu) for at, wall, cpu in lines if at > since]


def keep_asking(subjects: list[Subject], stop: threading.Event) -> None:
    """Send an invented key id to each gateway every second, so that each provider is always asked."""
    number = 0
    while not stop.wait(1.0):
        number += 1
        for subject in subjects:
            threading.Thread(target=subject.forge, args=(-number, 0.5), daemon=True).start()


def flooded(subject: Subject) -> tuple[float, int]:
    """Return the seconds that `FLOOD` invented key ids took, and the fetches that they caused."""
    before, began = subject.provider.count("/jwks"), time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda number: subject.forge(number, 30), range(FLOOD)))
    if statuses != {401}:
        raise SystemExit(f"bench: invented key ids were answered {statuses} instead of 401")
    return time.monotonic() - began, subject.provider.count("/jwks") - before


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--idle", type=int, default=30)
    parser.add_argument("--json", type=Path, default=HERE / "results" / "identity.json")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is not installed; apt install wrk (or brew install wrk)")
    console = Console(highlight=False)
    figures = verification(console)
    halves: dict[str, list[float]] = {mode: [] for mode in MODES}
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        port = free_port()
        upstream = subprocess.Popen([sys.executable, str(HERE / "upstream.py"), str(port)], stdout=subprocess.DEVNULL)
        subjects = {mode: Subject(Path(name) / mode.replace(" ", "-"), port) for mode in MODES}
        try:
            for subject in subjects.values():
                wait_for(subject.port)
                measure(subject.script, subject.url, 1, 2)
            with ExitStack() as stack:
                for mode, subject in subjects.items():
                    stack.enter_context(subject.provider.behaving("/jwks", MODES[mode]))
                asking = list(subjects.values())  # the same traffic on all three
                threading.Thread(target=keep_asking, args=(asking, stop), daemon=True).start()
                order = list(MODES)
                for number in track(range(options.rounds), "alternating", console=console):
                    for mode in order[number % 3 :] + order[: number % 3]:
                        halves[mode].append(measure(subjects[mode].script, subjects[mode].url, 1, options.seconds)[1])
                since = time.time()
                time.sleep(options.idle)
                lags = {mode: subject.lag(since) for mode, subject in subjects.items()}
                stop.set()
            fetches = {mode: subject.provider.count("/jwks") for mode, subject in subjects.items()}
            seconds, flood_fetches = flooded(subjects["at once"])
        finally:
            for process in (upstream, *(subject.process for subject in subjects.values())):
                process.terminate()
                process.wait(20)
    table = Table(
        "provider answers",
        "p50 ms",
        "of normal",
        "idle loop: longest step, wall ms",
        "CPU ms",
        "over 5 ms",
        header_style="bold",
    )
    rows = []
    for mode in MODES:
        ratio = statistics.median(a / b for a, b in zip(halves[mode], halves["at once"], strict=True))
        wall, cpu = max(w for w, _ in lags[mode]), max(c for _, c in lags[mode])
        late = sum(w > 5 for w, _ in lags[mode]) / len(lags[mode])
        row = {
            "provider": mode, "p50_ms": statistics.median(halves[mode]), "ratio": ratio, "longest_wall_ms": wall,
            "longest_cpu_ms": cpu, "share_over_5_ms": late, "fetches": fetches[mode],
        }  # fmt: skip
        rows.append(row)
        table.add_row(mode, f"{row['p50_ms']:.2f}", f"{ratio:.3f}", f"{wall:.1f}", f"{cpu:.1f}", f"{late:.1%}")
    console.print(table)
    console.print(
        "Ratios are medians over rounds, each measured side by side. A delay on all three at once comes from the machine."
    )
    console.print(f"{FLOOD} invented key ids in {seconds:.0f} s: {flood_fetches} fetches, at most one every 5 s")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    flood = {"ids": FLOOD, "seconds": seconds, "fetches": flood_fetches}
    options.json.write_text(json.dumps({"microseconds": figures, "provider": rows, "flood": flood}, indent=1))
    console.print(f"written to {options.json}")


if __name__ == "__main__":
    main()
