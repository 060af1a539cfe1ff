"""The table of commands in weir.cli.main: it agrees with the modules, and listing commands imports none of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weir.cli import main

CLI = Path(main.__file__).parent

#: Modules of the command line that are no command: the group itself, and what commands share.
SHARED = {
    "__init__", "curl", "desk", "fail", "main", "progress", "recorded_headers", "recordings", "store", "supervise", "table",
}  # fmt: skip

#: What a command must not import to list commands or to print a token. Each takes a tenth of a second or more.
HEAVY = ("mitmproxy", "duckdb", "httpx", "jwt", "weir.policyset", "weir.config", "weir.path", "weir.recorder")


@pytest.mark.parametrize("command", main.COMMANDS, ids=lambda command: command.name)
def test_a_line_in_help_is_the_commands_own(command: main.Command) -> None:
    loaded = main.load(command.name, command.place)
    assert loaded.name == command.name and not loaded.hidden and not loaded.deprecated
    assert " ".join(loaded.help.split("\n\n")[0].split()) == command.help
    assert loaded.short_help is None and not isinstance(loaded.rich_help_panel, str), "the table has neither"


def test_every_module_is_in_the_table() -> None:
    modules = {path.stem for path in CLI.glob("*.py")} - SHARED
    assert {command.place.partition(":")[0] for command in main.COMMANDS} == modules
    assert len({command.name for command in main.COMMANDS}) == len(main.COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["bundle"], ["token", "--user", "alice"], ["token"], ["nothing"]],
    ids=" ".join,
)
def test_what_lists_commands_or_prints_a_token_imports_little(tmp_path: Path, arguments: list[str]) -> None:
    script = (
        "import atexit, pathlib, sys\n"
        "atexit.register(lambda: pathlib.Path('modules').write_text('\\n'.join(sys.modules)))\n"
        "from weir.cli.main import main\n"
        "main()\n"
    )
    environment = {**os.environ, "WEIR_URL": "https://weir.example", "WEIR_TOKEN": "t"}
    subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    modules = (tmp_path / "modules").read_text().split()
    assert "weir.cli.main" in modules
    heavy = [*HEAVY, *(["pydantic"] if arguments == ["--help"] else [])]  # Typer reads options with pydantic
    assert [name for name in modules if any(f"{name}.".startswith(f"{one}.") for one in heavy)] == []
    called = {name.removeprefix("weir.cli.") for name in modules if name.startswith("weir.cli.")}
    assert called - SHARED <= {arguments[0]}
