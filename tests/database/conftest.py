"""Fixtures of the tests of databases."""

from __future__ import annotations

from tests.support.connection_fixtures import client_name, guarded_server, opened, raw

__all__ = ["client_name", "guarded_server", "opened", "raw"]
