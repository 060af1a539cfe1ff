"""Compares the time of masking with the time of parsing and with Presidio, and measures the quality of detection.

    python scripts/bench/masking.py [--rounds 30] [--presidio /path/to/python]

Each round parses with msgspec, then reads and masks, so that noise on the machine affects all alike. The results are
medians. The bodies are answers of a reranker with ids, times and scores, and without values to mask. ``--presidio`` names
the interpreter of an environment with presidio-analyzer. Both then search the same texts for the same kinds; Presidio
uses its pattern recognizers without a model.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "addons"), str(ROOT)]

import msgspec
from tests.masking.corpus import samples
from tests.masking.quality import measure, report

from weir.base.content import parse_answer
from weir.config.model import MaskSettings
from weir.masking.detectors.engine import BUILT_IN, Detectors
from weir.masking.masker import mask_json
from weir.masking.masks import Masks, compile_masks
from weir.masking.strategies import Tokens
from weir.masking.walk import Report

WORDS = (
    "the of and to in is for on with as by at from query ranking document search relevance model answer result service index "
    "team customer order ticket issue error page report update note price river water level flood gate data café größe"
).split()
PATHS = [
    "$.results[*].document.email", "$.results[*].document.phone", "$..ssn", "$..salary", "$.results[*].user.name", "$.meta.owner",
    "$..credit_card", "$.results[*].document.author.email", "$..full_name", "$.results[0:3].debug",
]  # fmt: skip
#: Presidio's names for the kinds that both recognise.
SAME = {
    "email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "credit_card": "CREDIT_CARD", "iban": "IBAN_CODE", "us_ssn": "US_SSN",
    "ip": "IP_ADDRESS", "crypto_address": "CRYPTO",
}  # fmt: skip
PRESIDIO = """
import json, sys, time
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
class NoModel(NlpEngine):
    def load(self): pass
    def is_loaded(self): return True
    def process_text(self, text, language): return NlpArtifacts([], [], [], [], self, language)
    def process_batch(self, texts, language, **more): return ((t, self.process_text(t, language)) for t in texts)
    def is_stopword(self, word, language): return False
    def is_punct(self, word, language): return False
    def get_supported_entities(self): return []
    def get_supported_languages(self): return ["en"]
texts, kinds, rounds = json.load(sys.stdin)
engine = AnalyzerEngine(nlp_engine=NoModel(), supported_languages=["en"])
engine.analyze("warm up: bob@example.com", "en", entities=kinds)
took = []
for _ in range(rounds):
    begun = time.perf_counter()
    for text in texts:
        engine.analyze(text, "en", entities=kinds)
    took.append(time.perf_counter() - begun)
print(json.dumps(took))
"""


def body(results: int) -> bytes:
    """Return a reranker's answer with its documents, about 450 bytes per result."""
    chance = random.Random(1)

    def text(words: int) -> str:
        return " ".join(chance.choices(WORDS, k=words)).capitalize() + "."

    return json.dumps({
        "id": str(uuid.UUID(int=chance.getrandbits(128))),
        "results": [
            {"index": i, "relevance_score": chance.random(), "document": {
                "id": f"doc-{i}", "user_id": f"u{i}", "title": text(6), "text": text(40), "lang": "en", "tags": ["a", "b"],
                "created": f"2025-03-{i % 28 + 1:02}T10:{i % 60:02}:00Z"}}
            for i in range(results)
        ],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }, ensure_ascii=False).encode()  # fmt: skip


def masks(*entries: dict[str, object]) -> Masks:
    """Compile the masks in *entries*."""
    return compile_masks([MaskSettings.model_validate(entry) for entry in entries], Tokens([b"k" * 32]))


def compare(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run all *ways* in turn, and return the median of each in seconds."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            took[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in took.items()}


def clean(rounds: int) -> None:
    """Measure bodies without values to mask."""
    everything = masks({"fields": PATHS, "with": "redact"}, {"detect": ["all"], "with": "redact"}).record("response")
    paths, none = masks({"fields": PATHS, "with": "redact"}).record("response"), Masks()
    for results in (75, 760):
        data = body(results)
        document = parse_answer(data)

        def masked(view: object, data: bytes = data) -> bytes:
            answer = mask_json(view, data, parse_answer(data), Report())  # type: ignore[arg-type]
            assert answer is data, "the body is not clean"
            return answer

        def unmasked(data: bytes = data) -> None:
            for _ in range(100):
                if none:
                    raise AssertionError

        times = compare(
            {
                "msgspec": lambda data=data: msgspec.json.decode(data),
                "read": lambda data=data: parse_answer(data),
                "read and mask": lambda: masked(everything),
                "paths alone": lambda document=document, data=data: mask_json(paths, data, document, Report()),
                "no masks, 100 times": unmasked,
            },
            rounds,
        )
        base = times["msgspec"]
        print(f"\n{len(data) / 1000:.0f} kB, clean: msgspec takes {base * 1e6:.0f} µs")
        for name in ("read", "read and mask", "paths alone"):
            print(f"  {name:<16} {times[name] / base:5.2f}x")
        print(f"  {'no masks':<16} {times['no masks, 100 times'] / 100 / base:7.4%} of it")


def presidio(python: str, rounds: int) -> None:
    """Compare with Presidio: the same kinds in the same texts."""
    texts = [s.document for s in samples(seed=3, count=600) if s.form == "text" and s.locale in ("en_US", "en_GB")]
    prose = [" ".join(random.Random(i).choices(WORDS, k=160)) for i in range(60)]
    detectors = Detectors(d for d in BUILT_IN if d.kind in SAME)
    for name, given in (("texts of the corpus", texts), ("clean prose", prose)):
        for text in given:  # warm up, like Presidio below
            detectors.find(text)
        kilobytes = sum(len(t.encode()) for t in given) / 1000
        mine = compare({"weir": lambda given=given: [detectors.find(t) for t in given]}, rounds)["weir"]
        asked = json.dumps([given, list(SAME.values()), 3])
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write(PRESIDIO)
            script.flush()
            done = subprocess.run([python, script.name], input=asked, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        theirs = statistics.median(json.loads(done.stdout.splitlines()[-1]))
        print(
            f"\n{name}, {kilobytes:.0f} kB: weir {mine / kilobytes * 1e6:.0f} µs/kB, Presidio {theirs / kilobytes * 1e6:.0f} µs/kB,"
            f" {theirs / mine:.0f}x"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--presidio", default="", help="the python of an environment with presidio-analyzer")
    options = parser.parse_args()
    clean(options.rounds)
    if options.presidio:
        presidio(options.presidio, 5)
    print(f"\n{report(measure(samples()))}")
