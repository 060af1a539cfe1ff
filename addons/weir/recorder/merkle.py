"""Merkle trees of RFC 6962, section 2.1. A root covers every leaf and their order.

Hashes are SHA-256, 32 bytes each.
"""

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of the leaf *data*."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A growing tree. It keeps one hash for each power of two in its size, and no leaves."""

    __slots__ = ("_peaks", "size")

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # roots of the full subtrees, the largest first
        for hash_ in hashes:
            self.add(hash_)

    def add(self, hash_: bytes) -> None:
        """Append a leaf by its hash (`leaf_hash`)."""
        size = self.size
        while size & 1:
            hash_ = _node(self._peaks.pop(), hash_)
            size >>= 1
        self._peaks.append(hash_)
        self.size += 1

    def grown(self, hashes: Iterable[bytes]) -> "Tree":
        """Return a copy of this tree with the leaves *hashes* appended."""
        tree = Tree()
        tree.size, tree._peaks = self.size, self._peaks.copy()
        for hash_ in hashes:
            tree.add(hash_)
        return tree

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self._peaks:
            return EMPTY
        *rest, root = self._peaks
        for peak in reversed(rest):
            root = _node(peak, root)
        return root


def root_of(hashes: Iterable[bytes]) -> bytes:
    """Return the root over the leaves *hashes*."""
    return Tree(hashes).root()


def inclusion(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the path from leaf *index* to the root over *hashes*, the nearest hash first (RFC 6962, 2.1.1)."""
    if len(hashes) <= 1:
        return []
    half = 1 << (len(hashes) - 1).bit_length() - 1
    if index < half:
        return [*inclusion(hashes[:half], index), root_of(hashes[half:])]
    return [*inclusion(hashes[half:], index - half), root_of(hashes[:half])]


def root_from(hash_: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Compute the root from the leaf *hash_* and its *path*; None if the path does not match *index* and *size*."""
    if not 0 <= index < size:
        return None
    last = size - 1
    for step in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            hash_ = _node(step, hash_)
            while not index & 1:
                index, last = index >> 1, last >> 1
        else:
            hash_ = _node(hash_, step)
        index, last = index >> 1, last >> 1
    return hash_ if last == 0 else None
