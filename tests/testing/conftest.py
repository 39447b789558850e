"""Test suites of an application, run by pytest inside pytest, with the plugin loaded."""

from __future__ import annotations

import hypothesis.strategies  # noqa: F401 - else every inner run imports it again
import pytest

from tenantlimpyd.embedded import EmbeddedServer


@pytest.fixture
def suite(pytester: pytest.Pytester, flushed_server: EmbeddedServer) -> pytest.Pytester:
    """Return a suite that uses the server of these tests."""
    pytester.makeconftest(f"""
        import pytest
        from types import SimpleNamespace

        @pytest.fixture(scope="session")
        def tenantlimpyd_server():
            return SimpleNamespace(settings={flushed_server.settings!r})
    """)
    return pytester


def run(suite: pytest.Pytester, source: str) -> pytest.RunResult:
    suite.makepyfile(source)
    return suite.runpytest_inprocess(
        "-p", "no:valkey", "-p", "no:randomly", "--asyncio-mode=auto", "-Werror",
        "-oasyncio_default_fixture_loop_scope=function",
    )  # fmt: skip
