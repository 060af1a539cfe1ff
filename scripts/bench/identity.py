"""What identity costs: verifying a token, and a provider that is slow, silent or flooded with made-up keys.

First, microseconds a token takes, in this process. Then one real gateway whose provider answers at once, in
5 s, not at all, or is asked for made-up key ids, in alternating rounds: the median latency of good callers
(wrk), and how late the event loop ever is while no traffic hides it. Needs wrk (apt install wrk).

    .venv/bin/python scripts/bench/identity.py --rounds 5 --seconds 6
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
from pathlib import Path

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT), str(HERE)]

from tests.auth.misbehaving import Behaviour, Provider  # noqa: E402
from throughput import BIN, CONNECTION, free_port, measure, wait_for, wrk_script  # noqa: E402

from weir.auth.claims import ClaimRules  # noqa: E402
from weir.auth.issuer import Issuer  # noqa: E402
from weir.auth.keys import read_key_set  # noqa: E402
from weir.auth.verifier import Verifier  # noqa: E402
from weir.jsonpath import compile_path  # noqa: E402

# max_stale: 30s has the keys refreshed every 10 s, so that each round holds a refresh.
GATEWAY = """\
version: 1
listen: [http://127.0.0.1:{port}]
issuers: [{{name: acme, issuer: {issuer}, audience: weir, max_stale: 30s}}]
recordings: {folder}/recordings
"""
MODES = {
    "at once": Behaviour(),
    "in 5 s": Behaviour(delay=5.0),
    "never": Behaviour(silent=True),
    "made-up keys": Behaviour(),
}


def verification(console: Console) -> dict[str, float]:
    """Microseconds a token: read and verified, and remembered."""
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
    """Microseconds that *work* takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6


def flood(url: str, token: str, stop: threading.Event) -> None:
    """Made-up key ids, two hundred a second at most, until *stop*."""
    body = json.dumps({"query": "q", "documents": ["a"]}).encode()
    _, payload, signature = token.split(".")
    with httpx.Client() as client:
        number = 0
        while not stop.wait(0.005):
            number += 1
            head = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": f"made-up-{number}"}).encode()).decode()
            forged = f"{head.rstrip('=')}.{payload}.{signature}"
            client.post(url, content=body, headers={"Authorization": f"Bearer {forged}"}, timeout=30)


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--json", type=Path, default=HERE / "results" / "identity.json")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is not installed; apt install wrk (or brew install wrk)")
    console = Console(highlight=False)
    figures = verification(console)
    provider = Provider()
    token = provider.token("bench", exp=int(time.time()) + 86_400)
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        folder = Path(name)
        port, upstream = free_port(), free_port()
        lag_file = folder / "lag.jsonl"
        environment = {
            **os.environ,
            "WEIR_HOME": str(folder / "home"),
            "BENCH_KEY": "sk-bench-0123456789",
            "LOOP_LAG": str(lag_file),
        }
        (folder / "policies").mkdir()
        (folder / "policies/gateway.yaml").write_text(GATEWAY.format(port=port, folder=folder, issuer=provider.url))
        (folder / "policies/reranker.yaml").write_text(CONNECTION.format(upstream=upstream))
        script = wrk_script(folder, token)
        gateway = [
            str(BIN / "mitmdump"),
            "-q",
            "-n",
            "--set",
            "weir_listen=true",
            "-s",
            str(ROOT / "addons/gateway.py"),
            "-s",
            str(HERE / "loop_lag.py"),
        ]
        commands = [[sys.executable, str(HERE / "upstream.py"), str(upstream)], gateway]
        processes = [subprocess.Popen(c, cwd=folder, env=environment, stdout=subprocess.DEVNULL) for c in commands]
        url = f"http://127.0.0.1:{port}/reranker/v2/rerank"
        halves: dict[str, list[float]] = {mode: [] for mode in MODES}
        lags: dict[str, list[float]] = {mode: [] for mode in MODES}
        fetches: dict[str, list[int]] = {mode: [] for mode in MODES}
        try:
            wait_for(port)
            measure(script, url, 1, 2)
            for number in range(options.rounds):
                for mode in MODES if number % 2 else reversed(MODES):
                    stop, before = threading.Event(), provider.count("/jwks")
                    with provider.behaving("/jwks", MODES[mode]):
                        forging = threading.Thread(target=flood, args=(url, token, stop))
                        if mode == "made-up keys":
                            forging.start()
                        idle = time.time()
                        time.sleep(options.seconds)
                        lags[mode].append(
                            max(
                                lag for at, lag in map(json.loads, lag_file.read_text().splitlines()) if at > idle + 0.2
                            )
                        )
                        stop.set()
                        if forging.is_alive():
                            forging.join()
                        fetches[mode].append(provider.count("/jwks") - before)
                        _, half = measure(script, url, 1, options.seconds)
                        halves[mode].append(half)
                console.print(f"round {number + 1} of {options.rounds}")
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)
            provider.stop()
    table = Table(
        "the provider answers",
        "p50 ms",
        "of normal",
        "longest lag of an idle loop, ms (median, worst)",
        f"fetches in {options.seconds} s",
        header_style="bold",
    )
    rows = []
    for mode in MODES:
        ratio = statistics.median(a / b for a, b in zip(halves[mode], halves["at once"], strict=True))
        row = {
            "mode": mode,
            "p50_ms": statistics.median(halves[mode]),
            "ratio": ratio,
            "lag_ms": lags[mode],
            "fetches": fetches[mode],
        }
        rows.append(row)
        table.add_row(
            mode,
            f"{row['p50_ms']:.2f}",
            f"{ratio:.3f}",
            f"{statistics.median(lags[mode]):.1f}, {max(lags[mode]):.1f}",
            str(max(fetches[mode])),
        )
    console.print(table)
    console.print(
        "Ratios are medians over rounds, each round measured side by side. The flood itself is traffic: its lag is the requests'."
    )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"microseconds": figures, "provider": rows}, indent=1))
    console.print(f"written to {options.json}")


if __name__ == "__main__":
    main()
