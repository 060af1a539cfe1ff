"""How several processes share one SQLite file."""

import sqlite3
import time


def patiently(connection: sqlite3.Connection, statement: str, seconds: float) -> None:
    """Execute *statement*, for at most that many *seconds* again where others are in the way. Raises `sqlite3.Error`.

    Changing to WAL does not wait for others by itself: workers that start together would fail.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
