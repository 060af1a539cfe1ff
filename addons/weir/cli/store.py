"""The shared state of the gateway that a command is about: where its gateway.yaml says."""

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from weir.config.load import GATEWAY_FILE
from weir.policies import folder_path
from weir.state.store import Store, open_store


def open_shared(policies: str = "") -> Store:
    """The shared state of the gateway with these *policies*. Raises `HomeError` where it cannot be used.

    Only ``state:`` is read: a stop must not depend on all of the folder being valid. Without a folder it is SQLite.
    """
    return open_store(_where(folder_path(policies)))


def _where(folder: Path) -> str:
    try:
        settings = YAML(typ="safe", pure=True).load((folder / GATEWAY_FILE).read_text())
    except (OSError, UnicodeDecodeError, YAMLError):
        return "sqlite"
    where = settings.get("state") if isinstance(settings, dict) else None
    return where if isinstance(where, str) else "sqlite"
