"""The tables of ``tests/corpus``, each read once per process."""

from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).with_name("corpus")


@cache
def corpus(name: str) -> Any:
    """Return the table *name*, a path below the folder without its suffix. It is shared: do not change it."""
    return YAML(typ="safe").load(FOLDER / f"{name}.yaml")


def profiles() -> dict[str, Any]:
    """Return the table of each profile, by the profile's name."""
    return {path.stem: corpus(f"profiles/{path.stem}") for path in sorted((FOLDER / "profiles").glob("*.yaml"))}
