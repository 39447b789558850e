"""Random models and operations have the replies, errors and keys of limpyd, except for the listed differences.

What there is to be tried comes from the classes of the libraries themselves; each test counts what it ran, and fails where
something was left out. ``TENANTLIMPYD_TEST_PARITY=10`` tries ten times as many programs, and with
``TENANTLIMPYD_TEST_EXPLORE=1`` others than the same ones each time, made smaller where they fail. A program
that failed is kept in ``failed_programs.py``.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from integration.parity.comparison import Bench, Step
from integration.parity.expected import Expected
from integration.parity.failed_programs import KEPT
from integration.parity.libraries import LIMPYD, OURS
from integration.parity.programs import all_commands, all_queries, programs
from integration.parity.random_models import INDEXES, KINDS, Model, classes_of_fields, declared_with, models
from tests.support.servers import ServerHandle

pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated .*:DeprecationWarning"),
    pytest.mark.timeout(1200),
]

EXPLORE = bool(os.environ.get("TENANTLIMPYD_TEST_EXPLORE"))
NOT_CALLED = {"collection.stored_key_exists", "collection.clone"}
"""What is asked in ``from_stored``, and what limpyd's collections call themselves."""

OF_FIELDS = classes_of_fields(LIMPYD)
FACTOR = float(os.environ.get("TENANTLIMPYD_TEST_PARITY", "1"))


def tried(times: int) -> Any:
    return settings(
        max_examples=max(1, int(times * FACTOR)),
        deadline=None,
        derandomize=not EXPLORE,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if EXPLORE else [])],
    )


@pytest.fixture
def bench(server: ServerHandle) -> Iterator[Bench]:
    bench = Bench(server.settings, Expected())
    yield bench
    bench.close()


def commands_of(cls: Any) -> list[str]:
    """Return the names of the commands that a field class, or the model class, of limpyd has by its own account."""
    return sorted({*cls.available_getters, *cls.available_modifiers})


def methods_of(cls: Any) -> list[str]:
    """Return the names of the public methods of a class."""
    return [name for name, value in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")]


def run(bench: Bench, programs: Any, times: int) -> None:
    """Play random programs."""

    @given(programs)
    @tried(times)
    def play(program: tuple[Model, list[Step]]) -> None:
        bench.play(*program)

    play()


def missing(bench: Bench, wanted: list[str]) -> list[str]:
    """Return what never succeeded. The second names of scans are refused by limpyd (D6)."""
    return [name for name in wanted if not bench.done[name] and not name.endswith("_iter")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_of_a_field_has_the_reply_and_keys_of_limpyd(bench: Bench, kind: str) -> None:
    names = [*commands_of(classes_of_fields(LIMPYD)[kind]), "proxy_get", "proxy_set"]
    indexes = st.sampled_from([None, "EqualIndex", "NumberRangeIndex", "TextRangeIndex"])
    run(bench, all_commands(indexes.flatmap(lambda index: declared_with(kind, index)), names), 12)
    assert not missing(bench, [f"{kind}.{name}" for name in names])


@pytest.mark.parametrize("index", INDEXES)
def test_every_index_has_the_replies_and_keys_of_limpyd(bench: Bench, index: str) -> None:
    run(bench, programs(declared_with(None, index)), 14)
    assert not missing(bench, [f"{index}.write", f"{index}.filter"])


def test_every_query_has_the_result_of_limpyd(bench: Bench) -> None:
    commands = commands_of(LIMPYD.model.RedisModel)
    for auto in (True, False):
        run(bench, all_queries(declared_with("InstanceHashField", None, auto), commands), 8)
    run(bench, all_queries(models, ["hgetall"]), 8)
    wanted = [f"RedisModel.{name}" for name in commands]
    wanted += [f"AutoPKField.{name}" for name in (*commands_of(OF_FIELDS["AutoPKField"]), "collection")]
    wanted += [f"PKField.{name}" for name in (*commands_of(OF_FIELDS["PKField"]), "collection")]
    wanted += [f"collection.{name}" for name in methods_of(LIMPYD.collections.ExtendedCollectionManager)]
    wanted += ["create", "delete", "forget", "get", "exists", "from_pks", "maintain", "pipeline"]
    assert {*missing(bench, wanted)} <= NOT_CALLED


def test_random_programs_have_the_replies_and_keys_of_limpyd(bench: Bench) -> None:
    run(bench, programs(models, 30), 80)


def test_random_programs_use_every_field_class() -> None:
    assert {*KINDS, "PKField", "AutoPKField"} == OF_FIELDS.keys() == classes_of_fields(OURS).keys()


@pytest.mark.parametrize("name", KEPT)
def test_program_that_failed_before_has_the_replies_and_keys_of_limpyd(bench: Bench, name: str) -> None:
    bench.play(*KEPT[name])
