"""Run commands in this process. A process of its own costs a command up to two seconds of CPU."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from weir.cli.main import main


def run(
    folder: Path, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``weir`` with these *arguments* in *folder*. Return output and exit code. One thread at a time."""
    said, errors, given = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(3))
    given.write(stdin)
    given.seek(0)
    with (
        contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors),
        pytest.MonkeyPatch.context() as patched,
    ):  # fmt: skip
        patched.setattr(sys, "argv", ["weir", *arguments])
        patched.setattr(sys, "stdin", given)
        for name, value in (environment or {}).items():
            patched.setenv(name, value)
        try:
            main()
            code: object = 0
        except SystemExit as end:
            code = end.code or 0
    texts = []
    for stream in (said, errors):
        stream.seek(0)
        texts.append(stream.read())
    return subprocess.CompletedProcess(arguments, code if isinstance(code, int) else 1, *texts)
