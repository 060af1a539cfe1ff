"""On a machine with only Python, no test fails because a program is missing, and each skip names its remedy."""

import os
import subprocess
import sys
from pathlib import Path

from tests import needs

ROOT = Path(__file__).parents[1]


def test_what_is_missing_is_named_with_its_packages() -> None:
    assert needs.missing() == needs.missing("sh") == ""
    needs.PACKAGES["no-such-command"] = needs.PACKAGES["no-such-command-either"] = "one-package"
    try:
        reason = needs.missing("no-such-command", "sh", "no-such-command-either")
    finally:
        del needs.PACKAGES["no-such-command"], needs.PACKAGES["no-such-command-either"]
    assert reason == (
        "not installed: no-such-command, no-such-command-either; run as root: scripts/setup --system, "
        "or apt-get install one-package"
    )


def test_without_any_command_the_ways_in_are_tried_and_skips_are_reported(tmp_path: Path) -> None:
    files = ["tests/end_to_end/test_modes.py", "tests/end_to_end/test_transparent.py", "tests/end_to_end/test_login.py"]
    chosen = "second_request or what_the_services or rules or login_in_a_browser or (hostile_requests and not TLS)"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", chosen, *files], cwd=ROOT, check=False,
        env={**os.environ, "PATH": str(tmp_path), "WEIR_SKIPPED": str(tmp_path / "skipped")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "4 passed, 4 skipped" in done.stdout, done.stdout  # reverse and proxy, a second request, the record
    reasons = (tmp_path / "skipped").read_text().splitlines()
    assert sum(int(reason.split()[0]) for reason in reasons) == 4
    assert all(" skipped: " in reason and "; run as root: scripts/" in reason for reason in reasons)
