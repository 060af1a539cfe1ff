"""The table of mitmproxy's internals is true for the installed versions, and complete.

`scripts/mitmproxy-next` runs this file against the newest mitmproxy.
"""

import ast
import asyncio
import functools
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import version

from tests.mitm import moved
from weir.mitm import table
from weir.mitm.table import Addon, Option, Options, Row

WEIR = Path(inspect.getfile(table)).parent.parent
ROOM = WEIR / "mitm"
COMPARED_WITH_SOURCE = [row for row in table.ROWS if not isinstance(row.expected, Addon | Option | Options)]


@pytest.fixture(scope="module")
def master() -> Any:
    from mitmproxy import options
    from mitmproxy.tools.dump import DumpMaster

    async def build() -> Any:
        return DumpMaster(options.Options())

    return asyncio.run(build())


# The table is true.


def test_nothing_moved() -> None:
    found = [text for row in COMPARED_WITH_SOURCE if (text := moved.moved(row))]
    if found:
        pytest.fail(f"mitmproxy {version.VERSION} moved {len(found)} names:\n" + "\n".join(found), pytrace=False)


def test_built_in_addons_are_removed_or_kept(master: Any) -> None:
    """A new one would run in the gateway."""
    expected = {row.expected.name: row.target for row in table.ROWS if isinstance(row.expected, Addon)}
    found = {n: f"{type(a).__module__}.{type(a).__qualname__}" for n, a in master.addons.lookup.items()}
    moved_addons = dict(sorted(found.items() ^ expected.items()))
    assert not moved_addons, "remove or keep new addons, and remove the rows of those that are gone"


def test_options_are_set_refused_or_left(master: Any) -> None:
    """A new one could open the gateway."""
    expected = {_name(row): row.expected.default for row in table.ROWS if isinstance(row.expected, Option)}
    found = {name: master.options.default(name) for name in expected if name in master.options}
    assert found == expected
    (left,) = (row.expected.names for row in table.ROWS if isinstance(row.expected, Options))
    others = set(master.options.keys()) - expected.keys()
    assert others == set(left), f"moved: {sorted(others ^ set(left))}"


def test_answers_of_http1_are_written_in_two_places() -> None:
    """Both are changed. A third would send mitmproxy's HTML."""
    from mitmproxy.proxy.layers.http import _http1

    assert inspect.getsource(_http1).count("make_error_response(") == 3  # with the definition


@pytest.mark.parametrize("ours", sorted({row.ours for row in table.ROWS}))
def test_our_part_exists(ours: str) -> None:
    pkgutil.resolve_name(f"weir.{ours}")


def test_a_name_has_one_row_of_a_kind() -> None:
    names = [(row.kind, row.target, repr(row.expected)) for row in table.ROWS]
    assert len(names) == len(set(names))
    assert all(row.why.strip() for row in table.ROWS)


# The table is complete.

#: Packages; the table lists the private names of them that Weir uses.
FOREIGN = ("mitmproxy", "mitmproxy_rs", "h2", "h11", "hpack", "hyperframe", "wsproto", "asyncio", "OpenSSL")
LAST = {row.target.rpartition(".")[2] for row in table.ROWS}


def test_private_names_have_a_row() -> None:
    unlisted = [found for path in _sources() for found in _private(path)]
    assert not unlisted, "add rows to weir.mitm.table for:\n" + "\n".join(unlisted)


def test_only_one_folder_changes_objects_of_mitmproxy() -> None:
    """Other folders put no function into an object, and no comment allows the assignment of a method."""
    found = [f for path in _sources() if ROOM not in path.parents for f in _changes(path)]
    assert not found, "move to weir.mitm:\n" + "\n".join(found)


def test_members_of_changed_classes_have_a_row() -> None:
    """In the folder itself, public names of the classes that it changes or inherits from are internals, too."""
    members = {n for target in _changed_classes() for n in moved.attributes(target) if not n.startswith("__")}
    used: dict[str, str] = {}
    for path in sorted(ROOM.glob("*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Attribute) and node.attr in members:
                used.setdefault(node.attr, f"{path.name}:{node.lineno}")
    unlisted = {name: place for name, place in used.items() if name not in LAST | OWN}
    assert not unlisted, f"add rows to weir.mitm.table for {unlisted}"


def test_the_room_does_not_know_the_data_path() -> None:
    for path in ROOM.glob("*.py"):
        imports = [n.module or "" for n in ast.walk(_tree(path)) if isinstance(n, ast.ImportFrom)]
        assert not [name for name in imports if name.startswith("weir.path")], path.name


#: Members of changed classes whose names only other objects are asked for: `set.add`.
OWN = {"add"}


def _changed_classes() -> set[str]:
    """Classes that are changed, or from which a class of ours inherits."""
    own = [row for row in table.rows("replaced", "wrapped", "subclassed") if row.target.startswith("mitmproxy.")]
    classes = {row.target if isinstance(row.expected, table.Members) else row.target.rpartition(".")[0] for row in own}
    return {target for target in classes if moved.is_class(target)}


def _name(row: Row) -> str:
    return row.target.rpartition(".")[2]


def _sources() -> list[Path]:
    return sorted(WEIR.rglob("*.py"))


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(WEIR)}:{getattr(node, 'lineno', 0)}"


def _private(path: Path) -> Iterator[str]:
    """Private names of others that *path* uses, and that have no row."""
    tree = _tree(path)
    others, listed = _other_modules(tree), _listed(path)
    known = set(_own_names(tree)) | NAMED_TUPLE | {target.rpartition(".")[2] for target in listed}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] != "weir":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                private = any(_is_private(part) for part in name.split("."))
                if private and not any(target == name or target.startswith(f"{name}.") for target in listed):
                    yield f"{_place(path, node)}: {name}"
        elif isinstance(node, ast.Attribute) and _is_private(node.attr):
            mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and node.attr in ALL_OWN
            if not (mine or node.attr in known or getattr(node.value, "id", "") in others):
                yield f"{_place(path, node)}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and _is_private(str(name.value)) and name.value not in known:
                yield f"{_place(path, node)}: {ast.unparse(node)}"


def _other_modules(tree: ast.AST) -> set[str]:
    """Names of imported modules that have nothing to do with mitmproxy."""
    imports = (n for n in ast.walk(tree) if isinstance(n, ast.Import) and not _imports_foreign(n))
    return {alias.asname or alias.name for n in imports for alias in n.names}


def _listed(path: Path) -> set[str]:
    """Names that *path* may use: of the whole table in its folder, elsewhere of the rows that name the file."""
    module = ".".join(path.relative_to(WEIR).with_suffix("").parts)
    return {row.target for row in table.ROWS if ROOM in path.parents or f"{row.ours}.".startswith(f"{module}.")}


def _changes(path: Path) -> Iterator[str]:
    """Places in *path* that put a function into an object, or that change an object behind the back of its type."""
    text, tree = path.read_text(), _tree(path)
    functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom) and _imports_foreign(n)
        for alias in n.names
    }
    imported -= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for number, line in enumerate(text.splitlines(), 1):
        if "ignore[method-assign" in line:
            yield f"{path.relative_to(WEIR)}:{number}: {line.strip()}"
    for node in ast.walk(tree):
        sets = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setattr"
        if sets and (isinstance(node.args[1], ast.Constant) or getattr(node.args[0], "id", "") in imported):
            yield f"{_place(path, node)}: {ast.unparse(node)}"
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if not isinstance(target, ast.Attribute):
                continue
            root = target.value
            while isinstance(root, ast.Attribute):
                root = root.value
            name, value = getattr(root, "id", ""), node.value  # type: ignore[attr-defined]
            is_function = isinstance(value, ast.Lambda) or getattr(value, "id", "") in functions
            if name not in ("self", "cls") and (name in imported or is_function):
                yield f"{_place(path, node)}: {ast.unparse(node)}"


def _imports_foreign(node: ast.Import | ast.ImportFrom) -> bool:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return any(name.partition(".")[0] in FOREIGN for name in names)


def _own_names(tree: ast.AST) -> Iterator[str]:
    """Private names that a file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        for target in node.targets if isinstance(node, ast.Assign) else ():
            yield from _assigned(target)
        if isinstance(node, ast.AnnAssign):
            yield from _assigned(node.target)


def _assigned(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple):
        for element in target.elts:
            yield from _assigned(element)
    elif isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Attribute) and getattr(target.value, "id", "") in ("self", "cls"):
        yield target.attr


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}
ALL_OWN = {name for path in sorted(WEIR.rglob("*.py")) for name in _own_names(_tree(path))}
