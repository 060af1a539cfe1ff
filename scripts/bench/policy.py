"""Compares the time to judge 100 rules on a request of 1,000 documents with the time to parse its body once.

    python scripts/bench/policy.py [--rounds 15]

Each round parses, builds the facts and judges, so that noise on the machine affects all alike. The results are medians.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "addons"))

from weir.base.content import parse
from weir.policy import facts
from weir.policy.conditions import Compiler
from weir.policy.facts import Facts
from weir.policy.rules import Rule, Rules, judge
from weir.profiles.profile import load_profile

WORDS = ["alpha", "refund", "parcel", "weir", "data", "ranking", "river", "naïve", "größe", "water", "level", "flood"]


def body() -> bytes:
    """Return a rerank of 1,000 documents with metadata, about 350 kB."""
    chance = random.Random(1)
    documents = [
        {"text": " ".join(chance.choices(WORDS, k=45)), "user_id": f"u{i}", "source": f"s{i % 7}", "age": i, "ok": True}
        for i in range(1000)
    ]
    return json.dumps(
        {"model": "rerank-v3.5", "query": "where is my parcel", "documents": documents, "options": {"a": {"b": 5}}}
    ).encode()


def scalar(i: int) -> dict[str, Any]:
    """Return a condition on scalar facts that does not match."""
    kinds: list[dict[str, Any]] = [
        {"documents": {"gt": 5000 + i}},
        {"model": {"not_in": ["rerank-v3.5", f"other-{i}"]}},
        {"user": f"mallory-{i}", "top_n": {"gt": 10}},
        {"operation": "write", "not": {"groups": f"local/editors-{i}"}},
        {"any": [{"bytes": {"gt": 10_000_000 + i}}, {"hour": {"lt": 0}}]},
    ]
    return kinds[i % len(kinds)]


def in_body(i: int) -> dict[str, Any]:
    """Return one of twenty conditions on the body. The first five check every document."""
    wild: list[dict[str, Any]] = [
        {"$.documents[*].user_id": "nobody"}, {"$.documents[*].source": ["x", "y"]}, {"$.documents[*].age": {"gt": 100_000}},
        {"$.documents[*].text": {"contains": "zebra"}}, {"$.documents[*].ok": False},
    ]  # fmt: skip
    return {"body": wild[i] if i < 5 else {f"$.options.a.c{i}": True} if i % 2 else {"$.options.a.b": {"gt": 5 + i}}}


def pattern(i: int) -> dict[str, Any]:
    """Return one of twenty conditions with a pattern on the query or the documents."""
    patterns = [
        rf"(?i)\bsecret{i}[a-z]+\b",
        rf"(?m)^drop table {i}",
        rf"[0-9]{{3}}-[0-9]{{2}}-{i}\d+",
        rf"https?://[a-z]+{i}\.example",
    ]
    return (
        {["query", "document_text"][i % 5 == 0]: {"matches": patterns[i % 4]}}
        if i % 2
        else {"document_text": {"matches": patterns[i % 4]}}
    )


def compiled(conditions: list[dict[str, Any]]) -> Rules:
    compiler = Compiler("request")
    rules = [Rule(f"r{i}", compiler.compile(when), "deny", "", False, "", 0) for i, when in enumerate(conditions)]
    compiler.close()
    return Rules(tuple(rules), frozenset(compiler.needs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    data = body()
    found = load_profile("cohere").paths.find("POST", "/v2/rerank")
    assert found is not None
    operation = found.operation
    mixed = compiled([scalar(i) for i in range(60)] + [in_body(i) for i in range(20)] + [pattern(i) for i in range(20)])
    scalars = compiled([scalar(i) for i in range(100)])

    def observed(parsed: Any) -> Facts:
        call = operation.read_call(parsed)
        caller = {"user": "alice", "groups": ["local/search"], "issuer": "local", "connection": "reranker", "method": "POST",
                  "client_ip": "127.0.0.1", "path": "/v2/rerank", "hour": 12, "weekday": "monday", "bytes": len(data), "body": parsed}  # fmt: skip
        return facts.of_call(call) | caller | facts.of_texts(operation.reading.read(parsed, "", {}))

    times: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any], repeat: int = 1) -> Any:
        began = time.perf_counter()
        for _ in range(repeat):
            result = work()
        times.setdefault(name, []).append((time.perf_counter() - began) / repeat)
        return result

    for _ in range(rounds):
        parsed = timed("parse the body once", lambda: parse(data))
        seen = timed("read its facts", lambda: observed(parsed))  # noqa: B023
        verdict = timed("judge 100 rules", lambda: judge(mixed, dict(seen)))  # noqa: B023
        assert not verdict.matched
        verdict = timed("judge 100 scalar rules", lambda: judge(scalars, dict(seen)), 50)  # noqa: B023
        assert not verdict.matched
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{len(data) / 1000:.0f} kB, 1,000 documents; medians of {rounds} rounds")
    for name, seconds in medians.items():
        print(f"  {name:<24} {seconds * 1e6:9.0f} us  {seconds / medians['parse the body once']:6.2f} of parsing")


if __name__ == "__main__":
    main()
