#!/usr/bin/env python3
"""Find private names that one package of tenantlimpyd uses of another.

A name that begins with one underscore belongs to the package that defines it: the folder under `tenantlimpyd/`, or the module
where there is no folder. Another package may use it on `self`, `cls` or `super()`, as a subclass does; if a protocol
declares it (`tenantlimpyd/_abc.py` says why); or if it is one of limpyd's names in `LIMPYD_NAMES`. Prints each use with its
place, and exits with 1 if there is one.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "tenantlimpyd"

LIMPYD_NAMES = frozenset({
    "_add_filters",  # of a collection: what subclasses override
    "_add_model",  # of a database
    "_creation_order",  # of a field
    "_fields",  # of a model: the names
    "_instance",  # of a field: the object
    "_model",  # of a field and of an index
    "_models",  # of a database
    "_name",  # of a model: the storage name
    "_pk",  # of an object
    "_use_for_model",  # of a database
})  # fmt: skip
"""limpyd's own private names, which extensions of its models use. They keep their names (docs/migrating.md)."""

OTHERS = frozenset({"_asdict", "_fields", "_make", "_replace", "_exit", "_getframe"})
"""The standard library's names that look private and are documented."""

OF_REDIS_PY = frozenset({"_connections/redis_internals.py"})
"""The modules that adapt what redis-py does not document."""


def is_private(name: str) -> bool:
    """Tell whether a name begins with one underscore and is not a dunder name."""
    return name.startswith("_") and not name.startswith("__") and name != "_"


def owner(path: Path) -> str:
    """Return the package a file belongs to: its folder under `tenantlimpyd/`, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def definitions(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that a module defines: functions, classes, parameters, variables, attributes, slots."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case (
                ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store())
            ):
                yield name


def declared_by_protocols(tree: ast.AST) -> Iterator[str]:
    """Yield the names that protocols declare."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
            yield from definitions(node)


def uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and name of each private name that a module may be taking from elsewhere."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.Attribute(value=ast.Name(id="self" | "cls"))
                | ast.Attribute(value=ast.Call(func=ast.Name(id="super")))
            ):
                continue
            case ast.Attribute(attr=name, lineno=line):
                yield line, name
            case ast.ImportFrom(module=str(module), names=names, lineno=line) if module.startswith("tenantlimpyd"):
                yield from ((line, alias.name) for alias in names if not is_package(module, alias.name))


def is_package(module: str, name: str) -> bool:
    """Tell whether `from module import name` imports a module or a package."""
    path = PACKAGE.parent.joinpath(*module.split("."), name)
    return path.is_dir() or path.with_suffix(".py").is_file()


def foreign_uses() -> Iterator[tuple[str, int, str]]:
    """Yield the file, line and name of each private name used outside of the package that defines it."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    defined = defaultdict(set)
    for path, tree in trees.items():
        defined[owner(path)].update(filter(is_private, definitions(tree)))
    shared = LIMPYD_NAMES | OTHERS | {name for tree in trees.values() for name in declared_by_protocols(tree)}
    for path, tree in trees.items():
        place = path.relative_to(PACKAGE).as_posix()
        for line, name in uses(tree):
            if is_private(name) and name not in shared | defined[owner(path)] and place not in OF_REDIS_PY:
                yield place, line, name


def main() -> int:
    """Print each use, and return the status to exit with."""
    found = sorted(set(foreign_uses()))
    for place, line, name in found:
        print(f"tenantlimpyd/{place}:{line}: {name} is private to another package")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
