"""Reads the source of installed libraries, and says how it differs from a row of `weir.mitm.table`.

The source is parsed, not imported objects: a test that runs the gateway in this process has changed those.
"""

import ast
import copy
import functools
import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

from weir.mitm.table import (
    Addon,
    Attribute,
    Expected,
    Function,
    Inherited,
    Members,
    Option,
    Options,
    Parameters,
    Row,
    Same,
    Text,
)

#: Characters of code that a row may have; longer code is a digest.
LONGEST = 100

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def moved(row: Row) -> str:
    """Return how the installed library differs from *row*; empty if it does not."""
    try:
        found = _found(row.target, row.expected)
    except LookupError as error:
        return f"{row.target}: it is gone ({error}); expected {row.expected}\n    used by {row.ours}: {row.why}"
    if found == row.expected:
        return ""
    return f"{row.target}: {_difference(row.expected, found)}\n    used by {row.ours}: {row.why}"


def _difference(expected: Expected, found: Expected) -> str:
    if isinstance(expected, Members) and isinstance(found, Members):
        before, now = (dict(p.split(":") for p in m.digests.split()) for m in (expected, found))
        gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
        changed = [f"{n} (now {n}:{now[n]})" for n in before if n in now and now[n] != before[n]]
        parts = (("changed", changed), ("gone", gone), ("new", [f"{n}:{now[n]}" for n in new]))
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)
    return f"expected {expected}, found {found}"


def _found(target: str, expected: Expected) -> Expected:
    match expected:
        case Function():
            node = definition(target)
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                raise LookupError("it is no function")
            return Function(signature(node), digest(node))
        case Members():
            node = definition(target)
            if not isinstance(node, ast.ClassDef):
                raise LookupError("it is no class")
            return Members(members(node))
        case Inherited():
            return Inherited(_definer(target))
        case Attribute():
            return Attribute(_annotation(target))
        case Parameters():
            has = inspect.signature(pkgutil.resolve_name(target)).parameters
            return Parameters(tuple(name for name in expected.names if name in has))
        case Text():
            texts = {n.value for n in ast.walk(definition(target)) if isinstance(n, ast.Constant)}
            return expected if any(expected.text in t for t in texts if isinstance(t, str)) else Text("another text")
        case Same():
            try:
                return Same(pkgutil.resolve_name(target))
            except (AttributeError, ImportError) as error:
                raise LookupError(str(error)) from None
        case Option() | Options() | Addon():
            raise AssertionError("compared with a running mitmproxy")


# Source.


def definition(target: str) -> Definition:
    """Return the class or function named *target*. Raises LookupError."""
    module, path = _split(target)
    node: Any = _tree(module)
    for name in path:
        node = _child(node, name)
        if node is None:
            raise LookupError(f"no {name}")
    assert isinstance(node, Definition)
    return node


def is_class(target: str) -> bool:
    """Return True if *target* is a class, not a module."""
    return bool(_split(target)[1]) and isinstance(definition(target), ast.ClassDef)


def _child(node: Any, name: str) -> Definition | None:
    body = node.body if isinstance(node, ast.Module | ast.ClassDef) else ()
    # of several definitions (`@overload`, `if TYPE_CHECKING`), the last one counts
    return next((n for n in reversed(body) if isinstance(n, Definition) and n.name == name), None)


@functools.cache
def _split(target: str) -> tuple[str, tuple[str, ...]]:
    parts = target.split(".")
    for size in range(len(parts), 0, -1):
        name = ".".join(parts[:size])
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return name, tuple(parts[size:])
    raise LookupError(f"no module {parts[0]}")


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the parameters without their types."""
    arguments = copy.deepcopy(node.args)
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return f"({ast.unparse(arguments)})"


def digest(node: ast.AST) -> str:
    """Return a short digest of the code of *node*. Comments, docstrings and the layout of lines do not count."""
    return hashlib.sha256(_dump(node).encode()).hexdigest()[:8]


def members(node: ast.ClassDef) -> str:
    """Return the digest of each method of a class and, as `*`, of everything else in it."""
    rest = ast.ClassDef(
        name=node.name,
        bases=node.bases,
        keywords=node.keywords,
        body=[n for n in node.body if not isinstance(n, Definition)],
        decorator_list=node.decorator_list,
        type_params=[],
    )
    methods: dict[str, str] = {}
    for n in node.body:
        if isinstance(n, Definition):
            methods[n.name] = methods.get(n.name, "") + _dump(n)
    short = {name: hashlib.sha256(text.encode()).hexdigest()[:6] for name, text in methods.items()}
    return " ".join([f"*:{digest(rest)[:6]}", *(f"{name}:{found}" for name, found in short.items())])


def _dump(node: Any) -> str:
    """Return *node* as text, as `ast.dump` does, but without docstrings, and equal in all versions of Python."""
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, found in ast.iter_fields(node):
        value = [n for n in found if not _is_text(n)] if name == "body" and isinstance(found, list) else found
        if value not in (None, [], ()):
            fields.append(f"{name}={_dump(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _is_text(node: Any) -> bool:
    """Return True if a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _definer(target: str) -> str:
    """Return the name of the class that defines the method *target*, which another class inherits."""
    owner, _, name = target.rpartition(".")
    module, path = _split(owner)
    cls = pkgutil.resolve_name(owner)
    if cls.__module__ != module:  # replaced in this process
        cls = next(base for base in cls.__mro__ if base.__module__ == module and base.__qualname__ == ".".join(path))
    for base in cls.__mro__:
        if _child(definition(f"{base.__module__}.{base.__qualname__}"), name) is not None:
            return base.__qualname__
    raise LookupError(f"no {name}")


def _annotation(target: str) -> str:
    """Return the declared type of an attribute of a class or module, or else the code that sets it first."""
    owner, _, name = target.rpartition(".")
    module, path = _split(owner)
    node: Any = definition(owner) if path else _tree(module)
    assigned = ""
    for n in ast.walk(node) if path else node.body:
        if isinstance(n, ast.ImportFrom) and name in {alias.asname or alias.name for alias in n.names}:
            return f"from {n.module}"
        targets: list[Any] = (
            n.targets if isinstance(n, ast.Assign) else [n.target] if isinstance(n, ast.AnnAssign) else []
        )
        if not any(name in (getattr(t, "id", ""), getattr(t, "attr", "")) for t in targets):
            continue
        if isinstance(n, ast.AnnAssign):
            return ast.unparse(n.annotation)
        code = ast.unparse(n.value)
        assigned = assigned or f"= {code if len(code) <= LONGEST else digest(n.value)}"
    if not assigned:
        raise LookupError(f"no {name}")
    return assigned


def attributes(target: str) -> Iterator[str]:
    """Yield the names of the methods and attributes of the class *target*, without inherited ones."""
    node = definition(target)
    for n in ast.walk(node):
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef):
            yield n.name
        for t in n.targets if isinstance(n, ast.Assign) else [n.target] if isinstance(n, ast.AnnAssign) else []:
            if isinstance(t, ast.Name) and n in node.body:
                yield t.id
            elif isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name) and t.value.id == "self":
                yield t.attr
