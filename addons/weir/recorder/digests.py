"""Keyed digests of what the record does not hold as it is: equal texts have equal digests, and nobody can test a guess.

Of bodies HMAC-SHA256 under a key of this gateway; of queries and documents keyed BLAKE2b, 64 bits, which is enough to
tell them apart and quick.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from weir.profiles.model import Ranking
from weir.recorder.journal import RankedResult

_MOST_RESULTS = 10_000
_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=str)


class Digests:
    """The digests under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def body(self, data: bytes) -> str:
        """Of a body, as the record would hold it."""
        return hmac.digest(self._key, b"body\n" + data, "sha256").hex()

    def query(self, query: Sequence[str]) -> str | None:
        """Of all that is asked; None where nothing is."""
        return self._short(b"query\n" + _encoder.encode(list(query))) if query else None

    def results(self, ranking: Ranking, documents: list[Any] | None) -> list[RankedResult]:
        """The results of *ranking*, each with the digest of its document: as it was sent, else of its own id."""
        documents = documents or []
        found = []
        for place, result in enumerate(ranking.results[:_MOST_RESULTS]):
            index, digest = result.index, None
            if index is not None and 0 <= index < len(documents):
                digest = self._document(documents[index])
            elif place < len(ranking.entries):
                digest = self._id(ranking.entries[place], ranking.sources[place])
            found.append(RankedResult(index, result.score, digest))
        return found

    def _document(self, document: Any) -> str:
        data = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else _encoder.encode(document)
        return self._short(b"document\n" + data)

    def _id(self, entry: Any, source: str | None) -> str | None:
        """Search results name documents: Elasticsearch and OpenSearch by ``_id``, most others by ``id``."""
        name = (entry.get("_id") or entry.get("id")) if isinstance(entry, dict) else None
        return self._short(b"id\n" + _encoder.encode([source, name])) if isinstance(name, str | int) else None

    def _short(self, data: bytes) -> str:
        return hashlib.blake2b(data, digest_size=8, key=self._key).hexdigest()
