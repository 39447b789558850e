"""The class hierarchy of errors, their messages, and pickling."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantlimpyd import exceptions
from tenantlimpyd._fanout.outcomes import Outcome
from tenantlimpyd.exceptions import (
    ConfigurationError,
    FanOutError,
    InvalidTenantError,
    LimpydException,
    TenantError,
    UnknownTenantError,
    shown,
)

OURS = [
    each
    for _, each in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(each, BaseException) and each.__module__ == exceptions.__name__ and not each.__name__.startswith("_")
]
TREE = {
    "LimpydException": "Exception",
    "ImplementationError": "LimpydException",
    "UnsupportedCommandError": "ImplementationError",
    "UniquenessError": "LimpydException",
    "DoesNotExist": "LimpydException",
    "ConfigurationError": "LimpydException",
    "TenantError": "LimpydException",
    "NoTenantError": "TenantError",
    "UnknownTenantError": "TenantError",
    "InvalidTenantError": "TenantError",
    "WrongTenantError": "TenantError",
    "TenantSwitchError": "TenantError",
    "SharedKeyspaceError": "TenantError",
    "ServerUnavailableError": "ConnectionError",
    "FanOutError": "LimpydException",
    "ScanInterruptedError": "LimpydException",
}


def made(kind):
    if kind is FanOutError:
        error = ValueError("x")
        error.tenant = "acme"
        outcomes = {"acme": Outcome(None, error, 0.5), "globex": Outcome(3, None, 0.25)}
        return FanOutError("1 of 2 tenants failed: acme", [error], outcomes)
    if kind in {UnknownTenantError, InvalidTenantError}:
        return kind("the message", "acme")
    return kind("the message")


def test_class_hierarchy():
    assert {each.__name__ for each in OURS} == set(TREE)
    assert {
        name
        for name in exceptions.__all__
        if name not in {"UNKNOWN_OUTCOME", "shown", "DataError", "RedisError", "ResponseError"}
    } == set(TREE)
    for each in OURS:
        assert issubclass(each, getattr(exceptions, TREE[each.__name__], Exception))
        assert each.__doc__
    assert issubclass(FanOutError, ExceptionGroup)
    assert issubclass(exceptions.NoTenantError, TenantError)


@pytest.mark.parametrize("kind", OURS)
def test_every_error_can_be_pickled_and_copied(kind):
    error = made(kind)
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.__dict__.keys() >= error.__dict__.keys() - {"__notes__"} or kind is FanOutError
        assert getattr(again, "tenant", None) == getattr(error, "tenant", None)
    if kind is not FanOutError:
        assert pickle.loads(pickle.dumps(error)).__notes__ == ["a note"]


def test_pickled_fan_out_error_keeps_tenants_and_outcomes():
    error = made(FanOutError)
    again = pickle.loads(pickle.dumps(error))
    assert [each.tenant for each in again.exceptions] == ["acme"]
    assert again.outcomes["globex"] == error.outcomes["globex"]
    assert again.outcomes["acme"].error is again.exceptions[0]


def test_fan_out_error_can_be_split():
    first, second = ValueError("x"), KeyError("y")
    error = FanOutError("2 of 2", [first, second], {"a": Outcome(None, first, 0), "b": Outcome(None, second, 0)})
    matching, rest = error.split(ValueError)
    assert type(matching) is type(rest) is FanOutError
    assert matching.exceptions == (first,)
    assert rest.exceptions == (second,)
    assert set(rest.outcomes) == {"a", "b"}
    with pytest.raises(FanOutError):
        try:
            raise error
        except* ValueError:
            pass
    with pytest.raises(LimpydException):
        raise error


def test_configuration_error_lists_all_problems():
    assert str(ConfigurationError("one")) == "one"
    assert ConfigurationError("one").problems == ("one",)
    both = ConfigurationError(["one", "two"])
    assert str(both) == "2 mistakes:\n- one\n- two"
    assert pickle.loads(pickle.dumps(both)).problems == ("one", "two")


def test_shown_escapes_and_truncates():
    assert shown("acme") == "'acme'"
    assert shown("é\r\n\0") == r"'\xe9\r\n\x00'"
    assert shown(b"a") == "b'a'"
    assert shown("x" * 1000) == f"'{'x' * 60}'... (1000 characters)"
    assert shown(b"x" * 61).endswith("(61 bytes)")
    assert shown(5) == "5"
    assert shown(True) == "True"
    assert shown(None) == "None"
    assert shown({"password": "hunter2"}) == "a dict"
    assert shown(10**5000) == "a number of 16610 bits"


@given(
    st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.none(), st.lists(st.text()), st.complex_numbers())
)
def test_shown_is_short_and_printable(value):
    text = shown(value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 150
