"""Open the shared state of a gateway, as its gateway.yaml names it."""

import os
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from weir.cli.fail import fail
from weir.config.load import GATEWAY_FILE
from weir.policyset.load import folder_path
from weir.state.store import Store, open_store


def open_shared(policies: str = "") -> Store:
    """Return the shared state of the gateway with these *policies*. Raises `HomeError` if it cannot be used.

    Only ``state:`` is read: a stop must not depend on a valid folder. Without gateway.yaml the state is SQLite. If
    gateway.yaml cannot be read, the command ends: it could otherwise change another store.
    """
    return open_store(_where(folder_path(policies) / GATEWAY_FILE))


def _where(file: Path) -> str:
    if not file.exists():
        return "sqlite"
    try:
        settings = YAML(typ="safe", pure=True).load(file.read_text())
        where = settings.get("state", "sqlite")
    except (OSError, UnicodeDecodeError, YAMLError, AttributeError):
        # A file with a mistake may still have a line `state: …`.
        lines = file.read_text(errors="replace").splitlines() if os.access(file, os.R_OK) else []
        said = [line.partition(":")[2].partition(" #")[0].strip(" '\"") for line in lines if line.startswith("state:")]
        where = said[0] if said else "sqlite" if lines else None
    if not isinstance(where, str):
        fail(f"{file} does not name the shared state; correct its `state:`, or name the folder with --policies")
    return where
