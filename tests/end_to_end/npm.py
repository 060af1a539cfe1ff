"""npm packages that the tests run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import needs


def install(folder: Path) -> None:
    """Install the packages of *folder*'s package.json once. Skip the test without Node or the npm registry."""
    if reason := needs.node():
        pytest.skip(reason)
    if not (folder / "node_modules").is_dir():
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
        if done.returncode != 0:
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            why = " ".join((done.stdout + done.stderr).split())[:300]
            pytest.skip(f"`npm install` fails here ({why}); these tests need an npm registry (npm config get registry)")
