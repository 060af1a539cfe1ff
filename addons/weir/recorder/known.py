"""Finds the segments that heads and logs name, and clears links in ``live/`` to anything else.

SQL reads each journal that ``live/`` links to. So each start and each round of housekeeping clears links to files of
other programs and to changed journals.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weir.recorder import heads, live
from weir.recorder.checkpoint import Size
from weir.recorder.entries import Sealed
from weir.recorder.evidence import as_sealed, entries, erased_lines, holds
from weir.recorder.folder import Recordings


@dataclass(frozen=True, slots=True)
class Known:
    """Open segments with worker and size, sealed segments with their entry, erased lines, and damaged logs' workers."""

    unsealed: Mapping[str, tuple[str, Size]]
    sealed: Mapping[str, Sealed]
    erased: Mapping[str, Collection[int]]
    damaged: set[str]

    def __contains__(self, segment: str) -> bool:
        return segment in self.unsealed or segment in self.sealed


def known_segments(recordings: Recordings, damaged: set[str] | None = None) -> Known:
    """Read heads, then logs. *damaged* has the workers that are known to have a damaged log. Raises OSError.

    List files before the call. A live worker writes the head of a segment before its files. When it seals the segment,
    it writes the log before it drops the head's record.
    """
    unsealed = {
        segment: (worker, head.get(segment).now)
        for worker, head in heads.all_of(recordings.identify())
        for segment in head.segments
    }
    found = set() if damaged is None else damaged
    logged = list(entries(recordings, found))
    sealed = {entry.segment: entry for _, entry in logged if isinstance(entry, Sealed)}
    return Known(unsealed, sealed, erased_lines(logged), found)


def drop_links(
    recordings: Recordings, slots: Sequence[tuple[Path, str]], known: Known, most: int | None = None
) -> list[str]:
    """Clear *slots* that link to an unknown or changed journal, or to a journal a second time. Return messages.

    *most* limits the number of sealed journals to read; a full one takes 25 ms. Raises OSError.
    """
    said: list[str] = []
    read = 0
    shown: set[str] = set()
    for slot, segment in slots:
        if segment in shown:
            why = f"live/{slot.name} linked to {segment} a second time"
        elif segment in known.sealed:
            shown.add(segment)
            read += 1
            if segment in known.unsealed or (most is not None and read > most):
                continue
            if as_sealed(recordings, known.sealed[segment], known.erased):
                continue
            why = f"{segment} differs from its sealed root"
        elif segment in known.unsealed:
            shown.add(segment)
            worker, size = known.unsealed[segment]
            if worker not in known.damaged or holds(recordings, segment, size):
                continue
            why = f"{segment} differs from its head"
        else:
            why = f"live/{slot.name} linked to {segment}, which is not ours"
        if os.path.lexists(slot):
            live.clear(slot)
            said.append(f"{why}; SQL does not show it any more; see: weir verify")
    return said
