"""Fixtures of the tests of fields."""

from __future__ import annotations

from tests.support.mapper_fixtures import database, flushed_server, host, made, numbered, person, raw, raw_client

__all__ = ["database", "flushed_server", "host", "made", "numbered", "person", "raw", "raw_client"]
