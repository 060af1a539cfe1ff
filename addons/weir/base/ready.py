"""Reports that a process is ready, over a pipe that the process which started it reads."""

import contextlib
import os

#: The environment variable with the number of the pipe's descriptor.
DESCRIPTOR = "WEIR_READY_DESCRIPTOR"


def report_ready() -> None:
    """Report once that this process is ready. Do nothing if no process waits for the report."""
    given = os.environ.pop(DESCRIPTOR, "")
    if given.isdecimal():
        with contextlib.suppress(OSError):  # the process that started this one has ended
            os.write(int(given), b"1")
            os.close(int(given))
