"""For any configuration, the only error is ConfigurationError, and its message can be printed."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd._connections.settings import KNOWN_SETTINGS
from tenantlimpyd.config import databases
from tenantlimpyd.config.tables import TENANT_KEYS
from tenantlimpyd.config.validators import SETTINGS
from tenantlimpyd.exceptions import ConfigurationError

pytestmark = pytest.mark.slow

SLOW_MACHINES = [HealthCheck.too_slow]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=5)
    | st.dates()
    | st.sampled_from(
        ["main", "redis://h", "redis://u:p@h:1/2?db=3", "unix:///s?db=1", "rediss://[::1]", "/", ".", "HOME"]
    )
    | st.text("redis:/@?=&[]%0123456789dbx", max_size=25).map("redis://".__add__)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
NAMES = st.sampled_from([*TENANT_KEYS, *sorted(KNOWN_SETTINGS), "prot"]) | st.text(max_size=5) | st.integers()
TABLES = st.dictionaries(NAMES, VALUES, max_size=5) | VALUES
IDS = (
    st.text(string.ascii_letters + "._-", min_size=1, max_size=5)
    | st.text(max_size=5)
    | st.integers()
    | st.binary(max_size=3)
)
GROUPS = st.dictionaries(IDS | st.just("main"), TABLES, max_size=4) | VALUES
CONFIGURATIONS = st.dictionaries(st.sampled_from(["servers", "tenants"]) | st.text(max_size=3), GROUPS, max_size=3)


def read(source):
    """Read a configuration; check that it is accepted or refused with a ConfigurationError."""
    try:
        found = databases(source)
    except ConfigurationError as error:
        found, problems = {}, error.problems
    else:
        problems = None
    assert problems != ()
    assert all(problem.isprintable() and len(problem) < 4000 for problem in problems or ())
    for database in found.values():
        repr(database.connection)  # redis-py takes the settings too
        database.close()


@given(CONFIGURATIONS)
@settings(max_examples=100, deadline=None, suppress_health_check=SLOW_MACHINES)
def test_any_mapping_is_accepted_or_a_configuration_error(source):
    read(source)


@given(st.dictionaries(st.sampled_from(sorted(SETTINGS)), SCALARS, max_size=3))
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_MACHINES)
def test_any_tenant_settings_are_accepted_or_a_configuration_error(table):
    read({"tenants": {"acme": {"host": "h", **table}}})


FRAGMENTS = st.sampled_from([
    "[servers.main]", "[tenants.acme]", "[[tenants.acme]]", "[tenants.acme.eu]", "[tenants.'a b']", "\n", "\n", "\n", " = ",
    "host", "url", "db", "server", "password_env", "key_prefix", "port", '"main"', '"h"', "'redis://:p@h/1'", "1", "-1",
    "inf", "nan", "1979-05-27", "0x" + "f" * 5000, "[", "]", "{", "}", '"', "'''", "\\u0000", ".", ",", "#",
    "\ufeff", "\0", "é",
])  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=30).map("".join).map(str.encode) | st.binary(max_size=30))
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_MACHINES)
def test_any_file_is_accepted_or_a_configuration_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    read(path)


@given(SCALARS)
@settings(deadline=None, suppress_health_check=SLOW_MACHINES)
def test_any_source_is_accepted_or_a_configuration_error(source):
    with contextlib.suppress(ConfigurationError):
        databases(source)
