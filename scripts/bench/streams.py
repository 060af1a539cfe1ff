"""Measures 50 streams of 100 tokens per second each: direct, through the gateway, and masked.

    python scripts/bench/streams.py [--clients 50] [--rate 100] [--seconds 6] [--rounds 3] [--workers 1] [--against CHECKOUT]

Service and clients are one process, which notes when it wrote and when it read each event. Each round measures all ways
in turn, so that noise on the machine affects all alike. The results are medians. "first word" is the time from sending
the request to the first word of the answer; the service waits 200 ms before it. "CPU" is the processor time of all
processes of the gateway for one event of one stream. With ``--against``, the gateway of another checkout runs too, and
the script prints the ratio of both.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "addons"), str(ROOT)]

WORDS = "the quick brown fox jumps over a lazy dog and some more words follow until the answer is done".split()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
POLICY = """
version: 1
connection: {name}
profile: openai
upstream: http://127.0.0.1:{upstream}
match: {{path: /{name}}}
access: {{groups: [search]}}
"""
MASKS = "masks:\n  - {detect: [all], with: redact}\n"
#: Times at which the events of a stream were written, by client.
WRITTEN: dict[str, list[float]] = {}
#: Seconds before the first word, as with a model.
THINKS = 0.2


def event(text: str, finish: str | None = None) -> bytes:
    """Return one chunk with one event."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "logprobs": None, "finish_reason": finish}
    document = {
        "id": "chatcmpl-9xA7bK2",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "m",
        "choices": [choice],
    }
    data = f"data: {json.dumps(document)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: float, seconds: float) -> None:
    """Serve as a model that sends *rate* words per second for *seconds*."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        request = json.loads(await reader.readexactly(length))
        written = WRITTEN.setdefault(request["user"], [])
        await asyncio.sleep(THINKS)
        writer.write(HEAD)
        begun = time.monotonic()
        for i in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + i / rate - time.monotonic()))
            written.append(time.monotonic())
            writer.write(event(f" {WORDS[i % len(WORDS)]}"))
        done = b"data: [DONE]\n\n"
        written.append(time.monotonic())
        writer.write(event("", "stop") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done))
        await writer.drain()
    finally:
        writer.close()


async def ask(port: int, path: str, token: str, user: str) -> tuple[float, list[float]]:
    """Return the seconds to the first word, and the milliseconds that each event took."""
    document = {"model": "m", "stream": True, "user": user, "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps(document).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    writer.write(
        f"POST {path}/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    first, took = 0.0, []
    try:
        async with asyncio.timeout(120):
            while line := await reader.readline():
                if line.startswith(b"data: {"):
                    if len(took) < len(WRITTEN[user]):  # withheld text can be an additional event before the last
                        took.append((time.monotonic() - WRITTEN[user][len(took)]) * 1000)
                    if not first and WORDS[0].encode() in line:
                        first = time.monotonic() - started
                elif line.startswith(b"data: [DONE]"):
                    break
    finally:
        writer.close()
    return first, took


class Gateway:
    """A gateway of one checkout, with a connection that masks and one that does not."""

    def __init__(self, root: Path, upstream: int, workers: int) -> None:
        from tests.end_to_end.gateway import GATEWAY, free_port, token

        self.port = free_port()
        self._root, self._workers = root, workers
        self._folder = Path(tempfile.mkdtemp(prefix="weir-bench-"))
        os.environ["WEIR_HOME"] = str(self._folder / "home")
        self.token = token("bench", "search")
        policies = self._folder / "policies"
        policies.mkdir()
        (policies / "gateway.yaml").write_text(GATEWAY.format(port=self.port, recordings=self._folder / "recordings"))
        (policies / "plain.yaml").write_text(POLICY.format(name="plain", upstream=upstream))
        (policies / "masked.yaml").write_text(POLICY.format(name="masked", upstream=upstream) + MASKS)

    async def start(self) -> None:
        """Start the gateway and wait until it listens."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "weir.cli.main", "run", "--workers", str(self._workers), cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(self._root / "addons"), "WEIR_HOME": str(self._folder / "home")},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):
            try:
                (await asyncio.open_connection("127.0.0.1", self.port))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)

    async def stop(self) -> None:
        """Stop the gateway."""
        self._process.terminate()
        await self._process.wait()

    def seconds(self) -> float:
        """Return the processor time of its processes in seconds."""
        ticks, pids = 0, [self._process.pid]
        for pid in pids:
            try:
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pids += [int(child) for child in children]
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


async def run(options: argparse.Namespace) -> None:
    """Run all rounds and print the results."""
    server = await asyncio.start_server(lambda r, w: serve(r, w, options.rate, options.seconds), "127.0.0.1", 0)
    upstream = server.sockets[0].getsockname()[1]
    gateways = {"": Gateway(ROOT, upstream, options.workers)}
    if options.against:
        gateways["other "] = Gateway(options.against.resolve(), upstream, options.workers)
    ways: dict[str, tuple[Gateway | None, str]] = {"direct": (None, "")}
    for name, gateway in gateways.items():
        ways |= {f"{name}unmasked": (gateway, "/plain"), f"{name}masked": (gateway, "/masked")}
    started = []
    try:
        for gateway in gateways.values():
            await gateway.start()
            started.append(gateway)
        firsts: dict[str, list[float]] = {way: [] for way in ways}
        times: dict[str, list[float]] = {way: [] for way in ways}
        costs: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for way, (to, path) in ways.items():
                WRITTEN.clear()
                before = to.seconds() if to is not None else 0.0
                port = to.port if to is not None else upstream
                bearer = to.token if to is not None else ""
                asking = [ask(port, path, bearer, str(i)) for i in range(options.clients)]
                events = 0
                for first, took in await asyncio.gather(*asking):
                    firsts[way].append(first)
                    times[way] += took
                    events += len(took)
                if to is not None:
                    costs[way].append((to.seconds() - before) / events * 1e6)
        for way in ways:
            took = sorted(times[way])
            cpu = f"   CPU {statistics.median(costs[way]):5.0f} us an event" if costs[way] else ""
            print(
                f"{way:<15} events {len(took):>7}  event p50 {statistics.median(took):6.2f} ms  p95 {took[int(len(took) * 0.95)]:7.2f} ms"
                f"   first word p50 {statistics.median(firsts[way]) * 1000:6.1f} ms{cpu}"
            )
        added = statistics.median(times["masked"]) - statistics.median(times["unmasked"])
        ratio = statistics.median(firsts["masked"]) / statistics.median(firsts["unmasked"])
        print(
            f"masking adds {added:.2f} ms to an event at the median; the first word comes after {ratio:.2f}x the time"
        )
        if options.against:
            for way in ("unmasked", "masked"):
                ratios = [new / old for new, old in zip(costs[way], costs[f"other {way}"], strict=True)]
                print(
                    f"{way}: {statistics.median(ratios):.2f}x the CPU of the other checkout (rounds: {', '.join(f'{r:.2f}' for r in ratios)})"
                )
    finally:
        for gateway in started:
            await gateway.stop()
        server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="a checkout of another commit to compare with")
    asyncio.run(run(parser.parse_args()))
