"""The detector of tenants that a test entered and did not leave."""

from __future__ import annotations

import pytest

from tenantlimpyd.context import enter, frames, leave
from tests.testing.conftest import run

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]


def test_leaking_test_fails_and_does_not_affect_the_next(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        from tenantlimpyd import context

        def test_leak(tenant_router):
            tenant_router.use_tenant("acme").__enter__()

        def test_after():
            assert context.current_tenant() is None

        def test_good(tenant_router):
            with tenant_router.use_tenant("acme"), tenant_router.use_no_tenant():
                pass
    """,
    )
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*test_leak began with no tenant entered and ended inside 'acme'.*"])


def test_leaking_coroutine_test_fails(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        from hypothesis import given, strategies

        async def test_leak(tenant_router):
            await tenant_router.use_tenant("acme").__aenter__()

        async def test_good(tenant_router):
            async with tenant_router.use_tenant("acme"):
                pass

        @given(strategies.integers(0, 1))
        async def test_property(number):
            pass
    """,
    )
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*test_leak began with no tenant entered and ended inside 'acme'.*"])


def test_leaking_fixture_fails_the_test(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import pytest

        @pytest.fixture
        def leaking(tenant_router):
            tenant_router.use_tenant("acme").__enter__()

        @pytest.fixture
        def inside(tenant_router):
            with tenant_router.use_tenant("acme"):
                yield

        def test_leak(leaking):
            pass

        def test_good(inside):
            pass
    """,
    )
    result.assert_outcomes(errors=1, passed=2)
    result.stdout.fnmatch_lines(["*test_leak with its fixtures began*inside 'acme'*"])


def test_failing_test_keeps_its_own_error(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        def test_it(tenant_router):
            tenant_router.use_tenant("acme").__enter__()
            assert 1 == 2
    """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert 1 == 2"])


def test_detector_can_be_switched_off(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import pytest
        from tenantlimpyd.context import frames

        @pytest.fixture(autouse=True)
        def tenant_leak_detector():
            yield
            frames.set(None)

        def test_it(tenant_router):
            tenant_router.use_tenant("acme").__enter__()
    """,
    )
    result.assert_outcomes(passed=1)


def test_message_lists_entered_tenants_innermost_first(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from tenantlimpyd.context import enter

        def test_it():
            enter("acme", None, object())
            enter(None, None, object())
    """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ended inside no tenant (use_no_tenant) inside 'acme'.*"])
    assert frames.get() is None


def test_detector_restores_the_entered_tenants(tenant_leak_detector: object) -> None:
    owner = object()
    enter("acme", None, owner)
    with pytest.raises(AssertionError, match="inside 'acme'"):
        tenant_leak_detector.check()  # type: ignore[attr-defined]
    assert frames.get() is None
    leave(owner)
