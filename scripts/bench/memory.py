"""Compares the resident memory of one gateway process after many requests with that after a tenth of them.

    .venv/bin/python scripts/bench/memory.py                     200,000 requests over 2,000 connections, HTTP/1.1
    .venv/bin/python scripts/bench/memory.py --http2             20,000 streams of one connection, HTTP/2
    .venv/bin/python scripts/bench/memory.py --requests 20000    fewer, to try it

Needs h2load (apt install nghttp2-client). Policy, masks and recording are on. Bodies have 4 kB.
"""

import argparse
import datetime
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from rich.console import Console
from throughput import BIN, CONNECTION, HERE, ROOT, free_port, wait_for

GATEWAY = """\
version: 1
listen:
  - http://127.0.0.1:{port}
  - {{url: "https://127.0.0.1:{secure}", tls: {{certificate: own.pem, key: own.key}}}}
issuers: [local]
recordings: {folder}/recordings
bounds: {{per_address: 100000, connections: 100000}}
"""
#: Limit of file descriptors. The gateway needs two per caller's connection.
FILES = 20_000


def certificate(folder: Path) -> None:
    """Write a self-signed certificate for the listener."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "own.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "own.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def resident(pid: int) -> float:
    """Return the resident memory of the process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    """Start everything, send the requests, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http2", action="store_true", help="one HTTP/2 connection with 10 streams at a time")
    parser.add_argument("--requests", type=int, help="number of requests (default: 200,000; 20,000 with --http2)")
    parser.add_argument("--connections", type=int, default=2000, help="number of HTTP/1.1 connections")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "memory.json")
    options = parser.parse_args()
    if shutil.which("h2load") is None:
        raise SystemExit("bench: h2load is not installed; apt install nghttp2-client")
    requests = options.requests or (20_000 if options.http2 else 200_000)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if hard == resource.RLIM_INFINITY else min(FILES, hard), hard))
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        folder = Path(name)
        ports = {who: free_port() for who in ("upstream", "weir", "secure")}
        environment = {**os.environ, "WEIR_HOME": str(folder / "home"), "BENCH_KEY": "sk-bench-0123456789"}
        (folder / "policies").mkdir()
        certificate(folder / "policies")
        settings = GATEWAY.format(port=ports["weir"], secure=ports["secure"], folder=folder)
        (folder / "policies/gateway.yaml").write_text(settings)
        (folder / "policies/reranker.yaml").write_text(CONNECTION.format(upstream=ports["upstream"]))
        token = subprocess.run(
            [BIN / "weir", "token", "--user", "bench", "--group", "search", "--for", "12h"],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        documents = [f"{i:02d} " + "a sentence of a document that is to be ranked, " * 4 for i in range(20)]
        body = folder / "body.json"
        body.write_text(json.dumps({"model": "rerank-v3.5", "query": "what?", "documents": documents, "top_n": 10}))
        gateway_command = [str(BIN / "mitmdump"), "-q", "-n", "--set", "weir_listen=true"]
        commands = (
            [sys.executable, str(HERE / "upstream.py"), str(ports["upstream"])],
            [*gateway_command, "-s", str(ROOT / "addons/gateway.py")],
        )
        processes = [subprocess.Popen(c, cwd=folder, env=environment, stdout=subprocess.DEVNULL) for c in commands]
        try:
            for port in ports.values():
                wait_for(port)
            pid = processes[1].pid
            url = f"https://127.0.0.1:{ports['secure']}" if options.http2 else f"http://127.0.0.1:{ports['weir']}"
            load = ["h2load", "-n", str(requests), "-t", "1", "-d", str(body), "-H", "content-type: application/json"]
            load += ["-H", f"authorization: Bearer {token}"]
            load += ["-c", "1", "-m", "10"] if options.http2 else ["--h1", "-c", str(options.connections)]
            began = time.monotonic()
            sizes = {0: resident(pid)}
            console.print(f"{requests:,} requests; at the start {sizes[0]:.0f} MiB")
            process = subprocess.Popen([*load, f"{url}/reranker/v2/rerank"], stdout=subprocess.PIPE, text=True)
            output: list[str] = []

            def follow() -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    output.append(line)
                    if line.startswith("progress: "):
                        done = int(line.split()[1].rstrip("%"))
                        sizes[done] = resident(pid)
                        console.print(f"  {done:3} %  {sizes[done]:.0f} MiB  {time.monotonic() - began:.0f} s")

            thread = threading.Thread(target=follow)
            thread.start()
            process.wait()
            thread.join()
        finally:
            for started in processes:
                started.terminate()
            for started in processes:
                started.wait(30)
        with duckdb.connect(str(folder / "recordings/index.duckdb"), read_only=True) as index:
            query = "SELECT status, problem, error, count(*) FROM flows WHERE status <> 200 GROUP BY ALL ORDER BY 4 DESC LIMIT 5"
            failed = index.execute(query).fetchall()
    text = "".join(output)
    if f"{requests} succeeded" not in text:
        raise SystemExit(f"bench: not every request succeeded: {failed}\n{text[-1500:]}")
    grown = sizes[100] / sizes[10] - 1
    console.print(f"change from a tenth of the requests to all: {grown:+.1%}")
    options.json.parent.mkdir(exist_ok=True)
    options.json.write_text(json.dumps({"requests": requests, "http2": options.http2, "mib": sizes, "grown": grown}))


if __name__ == "__main__":
    main()
