"""End a command that failed, with one line on standard error and an exit code."""

import sys
from typing import NoReturn

from weir.base.text import inert


def fail(message: str, code: int = 2) -> NoReturn:
    """Print *message* and exit with *code*."""
    print(inert(f"weir: {message}"), file=sys.stderr)
    sys.exit(code)
