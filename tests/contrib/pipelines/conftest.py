from __future__ import annotations

from tests.models.conftest import colour, database, flushed_server, person, raw, raw_client

__all__ = ["colour", "database", "flushed_server", "person", "raw", "raw_client"]
