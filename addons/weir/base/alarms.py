"""Alarms and counters: what an operator must hear of, said once in the log and counted.

Never pass a secret, a token or a body: messages are written to logs as they are.
"""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from weir.base.text import inert

logger = logging.getLogger("weir")

#: How often each alarm was raised and each kind of answer given, in this process.
counters: Counter[str] = Counter()


class Told:
    """Who else hears of alarms; the recorder, once it runs. It must neither wait nor raise."""

    by: Callable[[str, str], None] | None = None


def alarm(name: str, message: str, *, level: int = logging.ERROR) -> None:
    """Log *message* and count it under *name*. mitmdump exits at an ERROR before it has started: then use WARNING."""
    counters[name] += 1
    logger.log(level, inert(f"weir: {message}"))
    if Told.by is not None:
        Told.by(name, message)


def place(error: BaseException) -> str:
    """Where in our code *error* was raised: nothing of what was worked on is quoted."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    return f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "?"
