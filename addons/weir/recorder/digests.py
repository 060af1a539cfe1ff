"""Keyed digests of texts: equal texts have equal digests, and without the key no guess can be tested.

Bodies use HMAC-SHA256 under a key of this gateway. Queries and documents use keyed BLAKE2b with 64 bits, which is fast
and long enough to distinguish them.
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
    """Computes digests under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._keyed = hashlib.blake2b(digest_size=8, key=key)  # copied: the key is hashed once

    def body(self, data: bytes) -> str:
        """Return the digest of *data*, the record's copy of a body."""
        return hmac.digest(self._key, b"body\n" + data, "sha256").hex()

    def query(self, query: Sequence[str]) -> str | None:
        """Return the digest of all query texts; None if there are none."""
        return self._short(b"query\n" + _encoder.encode(list(query))) if query else None

    def results(self, ranking: Ranking, documents: list[Any] | None) -> list[RankedResult]:
        """Return the results of *ranking*, each with a digest of its document as sent, or else of its id."""
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
        """Return the digest of a search result's id. Elasticsearch and OpenSearch use ``_id``, most others ``id``."""
        name = (entry.get("_id") or entry.get("id")) if isinstance(entry, dict) else None
        return self._short(b"id\n" + _encoder.encode([source, name])) if isinstance(name, str | int) else None

    def _short(self, data: bytes) -> str:
        digest = self._keyed.copy()
        digest.update(data)
        return digest.hexdigest()
