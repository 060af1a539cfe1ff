"""Progress bars of commands that take long."""

import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar with *columns* on standard error; it shows nothing unless that is a terminal."""
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
