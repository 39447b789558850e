"""Tests of ``contrib`` use the fixtures of the tests of models."""

from __future__ import annotations

from tests.models.conftest import colour, database, flushed_server, raw, raw_client

__all__ = ["colour", "database", "flushed_server", "raw", "raw_client"]
