"""The shared state of the gateway that a command is about: where its gateway.yaml says."""

import os
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from weir.cli.fail import fail
from weir.config.load import GATEWAY_FILE
from weir.policyset.load import folder_path
from weir.state.store import Store, open_store


def open_shared(policies: str = "") -> Store:
    """The shared state of the gateway with these *policies*. Raises `HomeError` where it cannot be used.

    Only ``state:`` is read: a stop must not depend on all of the folder being valid. Where there is no gateway.yaml it
    is SQLite; one that cannot be read ends the command, which would else be about another store than is meant.
    """
    return open_store(_where(folder_path(policies) / GATEWAY_FILE))


def _where(file: Path) -> str:
    if not file.exists():
        return "sqlite"
    try:
        settings = YAML(typ="safe", pure=True).load(file.read_text())
        where = settings.get("state", "sqlite")
    except (OSError, UnicodeDecodeError, YAMLError, AttributeError):
        # A file with a mistake still says where: a line of its own, as people write it.
        lines = file.read_text(errors="replace").splitlines() if os.access(file, os.R_OK) else []
        said = [line.partition(":")[2].partition(" #")[0].strip(" '\"") for line in lines if line.startswith("state:")]
        where = said[0] if said else "sqlite" if lines else None
    if not isinstance(where, str):
        fail(f"{file} does not say where shared state is kept; mend its `state:`, or name the folder with --policies")
    return where
