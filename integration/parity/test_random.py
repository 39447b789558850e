"""Random models and random operations on both libraries: the same replies, errors and keys, but for the listed differences.

What there is to be tried comes from the classes of the libraries themselves; each test counts what it ran, and fails where
something was left out. ``TENANTLIMPYD_TEST_PARITY=10`` tries ten times as many programs, and with
``TENANTLIMPYD_TEST_EXPLORE=1`` others than the same ones each time. A program that failed is kept below as an example.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from integration.parity.declaring import INDEXES, KINDS, classes_of_fields, declared_with, models
from integration.parity.expected import Expected
from integration.parity.libraries import LIMPYD
from integration.parity.playing import Bench, Step
from integration.parity.programs import SHAPES, all_commands, programs
from integration.servers import ServerHandle

pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated .*:DeprecationWarning"),
    pytest.mark.timeout(1200),
]

EXPLORE = bool(os.environ.get("TENANTLIMPYD_TEST_EXPLORE"))
FACTOR = float(os.environ.get("TENANTLIMPYD_TEST_PARITY", "1"))


def tried(times: int) -> Any:
    return settings(
        max_examples=max(1, int(times * FACTOR)),
        deadline=None,
        derandomize=not EXPLORE,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )


@pytest.fixture
def bench(server: ServerHandle) -> Iterator[Bench]:
    bench = Bench(server.settings, Expected())
    yield bench
    bench.close()


def commands_of(kind: str) -> list[str]:
    """Return the names of the commands that limpyd's field class has, by its own account."""
    cls = classes_of_fields(LIMPYD)[kind]
    return sorted({*cls.available_getters, *cls.available_modifiers, "proxy_get", "proxy_set"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_of_a_field(bench: Bench, kind: str) -> None:
    names = commands_of(kind)

    @given(all_commands(declared_with(kind), names))
    @tried(12)
    def run(program: tuple[Any, list[Step]]) -> None:
        bench.play(*program)

    run()
    # The scans that redis-py has under two names are refused by limpyd under the second.
    left = [name for name in names if not bench.done[f"{kind}.{name}"] and not name.endswith("_iter")]
    assert not left, f"commands of {kind} that never succeeded: {left}"
