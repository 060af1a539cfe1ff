"""The demo checks each of its scenes, ends in less than a minute and leaves no files behind."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.end_to_end.gateway import ROOT


def test_the_demo_from_another_folder(tmp_path: Path) -> None:
    left_before = set(Path(tempfile.gettempdir()).glob("weir-demo-*"))
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < 180  # it promises a minute, but test machines are busy
    assert [int(n) for n in re.findall(r"^ ?(\d+)\. ", done.stdout, re.MULTILINE)] == list(range(1, 15))
    for shown in (
        "hash:",
        "401 Credentials required",
        "403 Access denied",
        "403 by rule no-huge-reranks",
        "8 passed, then 429",
        "the service saw the gateway's key, not the script's",
        "the same answer",
        "Write to [EMAIL] or call [PHONE], and have [IBAN] at hand.",
    ):
        assert shown in done.stdout
    assert done.stdout.count("weir sql ") == 5 and "Traceback" not in done.stdout + done.stderr
    assert set(Path(tempfile.gettempdir()).glob("weir-demo-*")) == left_before
