"""Share one SQLite file between processes."""

import sqlite3
import time


def patiently(connection: sqlite3.Connection, statement: str, seconds: float) -> None:
    """Execute *statement*; retry for up to *seconds* while other processes lock the file. Raises `sqlite3.Error`.

    SQLite's own timeout does not cover the switch to WAL, so workers that start together would fail.
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
