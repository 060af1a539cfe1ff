"""Packages of npm that the tests run for real."""

import subprocess
from pathlib import Path


def install(folder: Path) -> None:
    """Install what the package.json in *folder* names, once."""
    if not (folder / "node_modules").is_dir():
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, f"npm install failed:\n{done.stdout}{done.stderr}"
