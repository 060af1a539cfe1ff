"""Write the generated pages of the documentation: docs/reference/*.md.

The data dictionary and the commands are committed, so that a review shows what a change does to them; a test fails if
they are not current. The pages of settings are written when the site is built.
"""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from weir.cli.main import app
from weir.config.model import ConnectionSettings, GatewaySettings, ScheduleSettings
from weir.config.profile_settings import ProfileSettings
from weir.recorder.dictionary import VIEWS
from weir.rehearsal.cases import CaseSettings

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"

_NOTE = "<!-- Written by scripts/docs from {source}. Do not edit. -->"
_WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "`true` or `false`", "Any": "any value"}
_ALIASES = {
    "Name": "name (lower-case letters, digits, `-`, `_`)",
    "DetectorName": "name (lower-case letters, digits, `_`)",
    "Duration": "duration (`90s`, `15m`, `1h`, `30d`)",
    "VariableName": "name of an environment variable",
    "VariableNames": "name of an environment variable, or a list",
    "_LocalTime": "local time (`2026-01-05 09:00`)",
    "Strings": "text, or list of texts",
    "Tree": "tree of members",
}
#: Where a setting of gateway.yaml or of a connection's file is explained.
_GUIDES = {
    "access": "policies/index.md",
    "addresses": "ways-in/destinations.md",
    "admin": "approvals/api.md",
    "approval": "approvals/index.md",
    "bounds": "operations/bounds.md",
    "categories": "policies/index.md",
    "checkpoints": "evidence/index.md",
    "credential": "policies/index.md",
    "detectors": "masks/detectors.md",
    "held": "approvals/index.md",
    "issuers": "identity/index.md",
    "limits": "policies/limits.md",
    "listen": "ways-in/index.md",
    "masks": "masks/index.md",
    "notify": "approvals/notify.md",
    "pass": "ways-in/destinations.md",
    "profile": "policies/profiles.md",
    "record": "recordings/index.md",
    "recordings": "recordings/index.md",
    "rules": "policies/rules.md",
    "same_person": "approvals/index.md",
    "state": "approvals/api.md",
    "tls": "ways-in/destinations.md",
    "token_in": "identity/tokens.md",
    "trip": "policies/limits.md",
    "upstream_proxy": "ways-in/destinations.md",
    "websocket": "ways-in/websockets.md",
}


@cache
def _parsed(module: str) -> tuple[ast.Module, list[str]]:
    source = inspect.getsource(importlib.import_module(module))
    return ast.parse(source), source.splitlines()


@cache
def _assigned(module: str) -> dict[str, ast.expr]:
    """The aliases of *module*, and those that it imports from other modules with settings."""
    found: dict[str, ast.expr] = {}
    for node in _parsed(module)[0].body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("weir.config"):
            found |= _assigned(node.module)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return found


class Types:
    """Describe the annotations of one module in words."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.models: list[str] = []  # the models that were named, in order

    def of(self, node: ast.expr) -> str:
        """The words for *node*."""
        match node:
            case ast.Constant(value=str() as text):
                return self.of(ast.parse(text, mode="eval").body)
            case ast.Constant(value=None):
                return "`null`"
            case ast.Name(id=name) if name in _ALIASES:
                return _ALIASES[name]
            case ast.Name(id=name) if name in _WORDS:
                return _WORDS[name]
            case ast.Name(id=name) if name in _assigned(self.module):
                return self.of(_assigned(self.module)[name])
            case ast.Name(id=name):
                self.models.append(name)
                return f"[{_title(name)}](#{_anchor(name)})"
            case ast.BinOp(left=left, right=right):
                return " or ".join(dict.fromkeys(self.of(side) for side in (left, right) if not _is_none(side)))
            case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
                items = values.elts if isinstance(values, ast.Tuple) else [values]
                return " or ".join(f"`{item.value}`" for item in items if isinstance(item, ast.Constant))
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[base, *notes])):
                return self._annotated(base, notes)
            case ast.Subscript(value=ast.Name(id="list"), slice=item):
                return f"list of {_grouped(self.of(item))}"
            case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
                return f"mapping of {self.of(key)} to {_grouped(self.of(value))}"
        return f"`{ast.unparse(node)}`"

    def _annotated(self, base: ast.expr, notes: list[ast.expr]) -> str:
        described, limits = self.of(base), ""
        for note in notes:
            if not isinstance(note, ast.Call) or not isinstance(note.func, ast.Name):
                continue
            words = {k.arg: k.value for k in note.keywords}
            if note.func.id == "_named":
                described = f"text or list of texts or {self.of(note.args[1])}"
            if "json_schema_input_type" in words:
                described = self.of(words["json_schema_input_type"])
            least, most = (words.get(name) for name in ("ge", "le"))
            if isinstance(least, ast.Constant) and isinstance(most, ast.Constant):
                limits = f", {least.value} to {most.value}"
            elif isinstance(least, ast.Constant):
                limits = f", at least {least.value}"
            shortest = words.get("min_length")
            if isinstance(shortest, ast.Constant) and note.func.id == "Field":
                limits = f", at least {shortest.value}"
        return described + limits


def _grouped(words: str) -> str:
    return f"({words})" if " or " in words else words


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _title(name: str) -> str:
    """``ListenerTlsSettings`` as words: ``listener tls``."""
    plain = name.removesuffix("Settings")
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in plain).strip()


def _anchor(name: str) -> str:
    return _title(name).replace(" ", "-")


def _text(docstring: str | None) -> str:
    """A docstring as Markdown."""
    return inspect.cleandoc(docstring or "").replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel) or value is None or value in ([], {}, ""):
        return ""
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _fields(model: type[BaseModel]) -> dict[str, tuple[ast.expr, str]]:
    """By name, the annotation of each field and the comment at the end of its line; those of the bases first."""
    found: dict[str, tuple[ast.expr, str]] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        tree, lines = _parsed(base.__module__)
        (body,) = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == base.__name__]
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                line = lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :]
                comment = line.partition("# ")[2] if "noqa" not in line else ""
                found[node.target.id] = node.annotation, comment.strip()
    return found


def _explained(model: type[BaseModel], name: str) -> str:
    if model not in (GatewaySettings, ConnectionSettings) or name not in _GUIDES:
        return ""
    return f"[explained here](../{_GUIDES[name]})"


def _section(model: type[BaseModel]) -> tuple[list[str], list[str]]:
    """The lines that describe one model, and the names of the models that it names."""
    types = Types(model.__module__)
    lines = ["| setting | value | default | |", "|---|---|---|---|"]
    described = _fields(model)
    for name, field in model.model_fields.items():
        annotation, comment = described[name]
        words = types.of(annotation)
        label = field.alias or name
        about = " ".join(filter(None, (_cell(field.description or comment), _explained(model, label))))
        lines.append(f"| `{label}` | {_cell(words)} | {_default(field.default)} | {about} |")
    return lines, types.models


def _model(name: str, like: type[BaseModel]) -> type[BaseModel]:
    found = getattr(sys.modules[like.__module__], name)
    assert issubclass(found, BaseModel), name
    return found


def settings_page(title: str, intro: str, model: type[BaseModel]) -> str:
    """A page with *model* and every model below it."""
    source = f"{model.__module__.replace('.', '/')}.py"
    lines = [
        _NOTE.format(source=f"addons/{source}"),
        "",
        f"# {title}",
        "",
        *textwrap.dedent(intro).strip().splitlines(),
        "",
    ]
    waiting, done = [(model, "")], {model}
    while waiting:
        current, heading = waiting.pop(0)
        if heading:
            lines += [f"## {heading}", ""]
        lines += [*_text(current.__doc__).splitlines(), ""]
        section, named = _section(current)
        lines += [*section, ""]
        for name in named:
            below = _model(name, current)
            if below not in done:
                done.add(below)
                waiting.append((below, _title(name)))
    return "\n".join(lines)


def dictionary_page() -> str:
    """The views of the index and their columns."""
    lines = [
        _NOTE.format(source="addons/weir/recorder/dictionary.py"),
        "",
        "# Data dictionary",
        "",
        "For people who query recordings with SQL: every view of `recordings/index.duckdb` and every column of it.",
        "The same texts are comments in the database: `.views` and `.columns` in `weir sql` show them.",
        "",
        "Times are UTC. Digests are keyed: equal texts have equal digests, and a guess cannot be tested without the key.",
        "`effect` is the decision that was enforced. `shadow_effect` is the decision if rules in shadow counted, too.",
        "",
    ]
    for name, (about, columns) in VIEWS.items():
        lines += [f"## {name}", "", f"**`{name}`** — {about}", "", "| column | |", "|---|---|"]
        lines += [f"| `{column}` | {text} |" for column, text in columns.items()]
        lines.append("")
    return "\n".join(lines)


def commands(command: Any = None, path: str = "weir") -> Iterator[tuple[str, Any]]:
    """Every command with its words, ``weir keys create``, and those of the groups above it."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name in getattr(command, "commands", ()):
        _, below, _ = command.resolve_command(command.context_class(command), [name])  # imports it, if need be
        yield from commands(below, f"{path} {name}")


def _parameters(command: Any) -> Iterator[str]:
    for parameter in command.params:
        about = _cell(getattr(parameter, "help", None) or "")
        if parameter.param_type_name == "argument":
            yield f"| `{parameter.name.upper()}` | {about} |"
        elif not parameter.hidden and parameter.name not in ("help", "install_completion", "show_completion"):
            names = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
            yield f"| {names}{'' if parameter.is_flag else ' VALUE'} | {about} |"


def _help(text: str) -> list[str]:
    """A command's help as Markdown: indented paragraphs are examples, names in bold are code."""
    lines: list[str] = []
    examples: list[str] = []
    for paragraph in inspect.cleandoc(text).replace("\b", "").replace("\f", "").split("\n\n"):
        if paragraph.startswith("  "):
            examples += textwrap.dedent(paragraph).splitlines()
        elif not re.search(r"\[bold\]Examples?\[/\]", paragraph):
            plain = re.sub(r"\[bold\](.+?)\[/\]", r"`\1`", paragraph.strip("\n"))
            lines += [*plain.replace("``", "`").splitlines(), ""]
    return [*lines, *(["```bash", *examples, "```", ""] if examples else [])]


def command_page() -> str:
    """The ``weir`` command, and every command below it."""
    lines = [
        _NOTE.format(source="addons/weir/cli/"),
        "",
        "# The weir command",
        "",
        "For operators and policy authors: every command and option, as `weir COMMAND --help` prints them.",
        "",
        "Exit codes: 0 success, 1 the command did not achieve its result, 2 the input or the configuration is wrong.",
        "",
    ]
    for path, command in commands():
        if path == "weir":
            continue
        depth = "##" if path.count(" ") == 1 else "###"
        lines += [f"{depth} {path}", ""]
        lines += _help(command.help or "")
        if rows := list(_parameters(command)):
            lines += ["| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


#: Pages that are committed.
COMMITTED = ("data-dictionary.md", "cli.md")


def pages() -> dict[str, str]:
    """Every generated page by the name of its file."""
    return {
        "gateway.md": settings_page(
            "gateway.yaml",
            """
            For operators: every setting of `policies/gateway.yaml`, with its type and default. `weir schema gateway` prints
            the JSON Schema for your editor.
            """,
            GatewaySettings,
        ),
        "connection.md": settings_page(
            "A connection's file",
            """
            For policy authors: every setting of a connection's file, `policies/NAME.yaml`, with its type and default.
            `weir schema` prints the JSON Schema for your editor.
            """,
            ConnectionSettings,
        ),
        "profile.md": settings_page(
            "A profile",
            """
            For authors of profiles: every setting of `policies/profiles/NAME.yaml`, with its type and default.
            `weir schema profile` prints the JSON Schema for your editor.
            """,
            ProfileSettings,
        ),
        "schedule.md": settings_page(
            "An on-call schedule",
            """
            For people who plan reviews: every setting of `policies/schedules/NAME.yaml`.
            """,
            ScheduleSettings,
        ),
        "case.md": settings_page(
            "A policy test",
            """
            For policy authors: every setting of a case in `policies/tests/*.yaml`. `weir schema tests` prints the JSON
            Schema for your editor.
            """,
            CaseSettings,
        ),
        "data-dictionary.md": dictionary_page(),
        "cli.md": command_page(),
    }


def main() -> None:
    """Write the pages that differ."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"docs: wrote {path.relative_to(FOLDER.parents[1])}")


if __name__ == "__main__":
    main()
