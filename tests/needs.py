"""Requirements of some tests: system commands, root, Node, SDKs. If one is missing, these tests are skipped.

Each reason for a skip names the remedy, since `scripts/test` prints the reasons at its end.
"""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_LINES = (Path(__file__).parents[1] / "scripts" / "system-packages").read_text().splitlines()

#: The Debian package of each command, as `scripts/setup --system` installs it.
PACKAGES = dict(line.split() for line in _LINES if not line.startswith("#"))


#: The oldest major version of Node that runs the npm packages of tests (oidc-provider 9, undici 7).
_OLDEST_NODE = 20


def missing(*commands: str) -> str:
    """Return why tests that run *commands* are skipped, with the remedy. Empty if all are installed."""
    absent = [command for command in commands if shutil.which(command) is None]
    if not absent:
        return ""
    packages = " ".join(dict.fromkeys(PACKAGES[command] for command in absent))
    return f"not installed: {', '.join(absent)}; run as root: scripts/setup --system, or apt-get install {packages}"


def node() -> str:
    """Return why tests that run Node are skipped, with the remedy. Empty if Node and npm are installed and recent."""
    if reason := missing("node", "npm"):
        return reason
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = version.removeprefix("v").partition(".")[0]
    if major.isdecimal() and int(major) >= _OLDEST_NODE:
        return ""
    return (
        f"Node {version or 'of unknown version'} is too old; install Node {_OLDEST_NODE} or newer (https://nodejs.org)"
    )


def root(purpose: str) -> str:
    """Return why tests that need root for *purpose* are skipped, with the remedy. Empty for root."""
    return "" if os.geteuid() == 0 else f"root is needed for {purpose}; run as root: scripts/test"


def client(package: str) -> str:
    """Return why tests that use an SDK of the extra ``clients`` are skipped, with the remedy. Empty if installed."""
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # a parent package is missing
        found = None
    return "" if found else f"not installed: {package}; run: scripts/setup --clients"


def skip_without(*commands: str) -> None:
    """Skip the running test if one of *commands* is not installed."""
    if reason := missing(*commands):
        pytest.skip(reason)


def mount(*arguments: str) -> None:
    """Run ``mount`` with *arguments*. Skip the running test if this machine does not permit it."""
    skip_without("mount")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mount fails here ({done.stderr.strip()}); run in a container or machine with CAP_SYS_ADMIN")
