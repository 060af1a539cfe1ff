"""Alarms and counters for operators: each alarm is logged and counted.

Never pass a secret, a token or a body: messages are logged unchanged.
"""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from weir.base.text import inert

logger = logging.getLogger("weir")

#: How often this process raised each alarm and gave each kind of answer.
counters: Counter[str] = Counter()


class Told:
    """The additional receiver of alarms: the recorder, while it runs. It must neither wait nor raise."""

    by: Callable[[str, str], None] | None = None


def alarm(name: str, message: str, *, level: int = logging.ERROR) -> None:
    """Log *message* and count it under *name*.

    mitmdump exits if an ERROR is logged before it has started; use WARNING until then.
    """
    counters[name] += 1
    logger.log(level, inert(f"weir: {message}"))
    if Told.by is not None:
        Told.by(name, message)


def place(error: BaseException) -> str:
    """Return file and line of our code where *error* was raised, without any processed data."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    return f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "?"
