"""Measure what the detectors find in a corpus: recall and precision by overlap of spans, by kind."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.masking.corpus import KINDS, Sample

from weir.masking.detectors.engine import BUILT_IN, Detectors
from weir.masking.walk import words_of

DETECTORS = Detectors(BUILT_IN)
#: Kinds that may both be correct for one value: a password in a URL has both.
_ALIKE = ({"password", "vendor_token", "cloud_key", "jwt", "private_key", "url_credentials"},)


@dataclass
class Quality:
    found: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    clean_bytes: int = 0
    clean_false: int = 0
    wrong: list[str] = field(default_factory=list)

    def recall(self, kind: str | None = None) -> float:
        found, missed = self._sum(self.found, kind), self._sum(self.missed, kind)
        return found / (found + missed) if found + missed else 1.0

    def precision(self, kind: str | None = None) -> float:
        found, false = self._sum(self.found, kind), self._sum(self.false, kind)
        return found / (found + false) if found + false else 1.0

    def false_per_megabyte(self) -> float:
        """Findings in samples without values."""
        return self.clean_false / (self.clean_bytes / 1e6)

    def _sum(self, counts: Counter[str], kind: str | None) -> int:
        return counts.total() if kind is None else counts[kind]


def leaves(
    document: Any, key: str = "", path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield every (path, names, text) of a document, including numbers."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from leaves(value, name, (*path, name))
    elif isinstance(document, list):
        for i, value in enumerate(document):
            yield from leaves(value, key, (*path, i))
    elif isinstance(document, str) or (isinstance(document, int | float) and not isinstance(document, bool)):
        yield path, words_of(key), str(document)


def alike(one: str, other: str) -> bool:
    return one == other or any(one in group and other in group for group in _ALIKE)


def measure(samples: list[Sample]) -> Quality:
    quality = Quality()
    for sample in samples:
        size = len(json.dumps(sample.document, ensure_ascii=False).encode())
        if not sample.values:
            quality.clean_bytes += size
        expected = list(sample.values)
        for path, key, text in leaves(sample.document):
            here = [v for v in expected if v.path == path]
            spans = DETECTORS.find(text, key)
            for value in here:
                hit = [s for s in spans if s.start < value.end and value.start < s.end and alike(s.kind, value.kind)]
                if hit:
                    quality.found[value.kind] += 1
                else:
                    quality.missed[value.kind] += 1
                    quality.wrong.append(
                        f"missed {value.kind} {value.text!r} [{key}] in {text[max(0, value.start - 60) : value.end + 30]!r}"
                    )
            for span in spans:
                if not any(span.start < v.end and v.start < span.end and alike(span.kind, v.kind) for v in here):
                    quality.false[span.kind] += 1
                    quality.clean_false += not sample.values
                    quality.wrong.append(
                        f"false {span.kind} {text[span.start : span.end]!r} [{key}] in {text[max(0, span.start - 60) : span.end + 30]!r}"
                    )
    return quality


def report(quality: Quality) -> str:
    lines = [f"{'kind':<20}{'values':>8}{'recall':>9}{'precision':>11}"]
    for kind in (*KINDS, None):
        count = quality._sum(quality.found, kind) + quality._sum(quality.missed, kind)
        lines.append(f"{kind or 'all':<20}{count:>8}{quality.recall(kind):>9.3f}{quality.precision(kind):>11.3f}")
    lines.append(
        f"false positives in {quality.clean_bytes / 1e6:.2f} MB without any value: {quality.clean_false} ({quality.false_per_megabyte():.1f}/MB)"
    )
    return "\n".join(lines)
