"""The structure of the package: no import cycles, and no private names of other packages."""

from __future__ import annotations

import ast
import importlib.util
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tenantlimpyd

PACKAGE = Path(tenantlimpyd.__file__).parent
SCRIPT = PACKAGE.parent / "scripts" / "check_private_names.py"


def imports():
    """Return the modules of the package that each of its modules imports, for its types too."""
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    found = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found[name].add(inner if inner in modules else node.module)
        found[name] &= modules.keys() - {name}
    return found


def test_no_modules_import_each_other():
    found = imports()
    assert len(found) > 200
    TopologicalSorter(found).prepare()


def test_modules_that_import_each_other_would_be_found():
    with pytest.raises(CycleError):
        TopologicalSorter({**imports(), "tenantlimpyd.exceptions": {"tenantlimpyd"}}).prepare()


@pytest.fixture
def checker(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("check_private_names", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_package_uses_private_names_of_another(checker):
    assert list(checker.foreign_uses()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(x):\n    return x._hidden", ["_hidden"]),
        ("from tenantlimpyd.one.module import _hidden", ["_hidden"]),
        ("def f(x):\n    return x._shared", []),
        ("def f(x):\n    return x._name", []),
        ("class A:\n    def f(self):\n        return self._hidden", []),
        ("def f(x):\n    return x.__dict__", []),
        ("def f(x):\n    x._own = 1\ndef _own():\n    pass", []),
    ],
)
def test_private_names_of_another_package_would_be_found(checker, monkeypatch, tmp_path, source, found):
    package = tmp_path / "tenantlimpyd"
    for name in ("one", "two"):
        (package / name).mkdir(parents=True)
    (package / "one" / "module.py").write_text(
        "from typing import Protocol\nclass P(Protocol):\n    _shared: int\nclass C:\n    _hidden = 1\n"
    )
    (package / "two" / "module.py").write_text(source)
    monkeypatch.setattr(checker, "PACKAGE", package)
    assert [name for _, _, name in checker.foreign_uses()] == found
