"""Tests of ``contrib`` use the fixtures of the tests of models."""

from __future__ import annotations

from tests.models.conftest import database, flushed_server, mode, raw, raw_client

__all__ = ["database", "flushed_server", "mode", "raw", "raw_client"]
