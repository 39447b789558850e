from __future__ import annotations

from tests.models.conftest import database, flushed_server, mode, person, raw, raw_client

__all__ = ["database", "flushed_server", "mode", "person", "raw", "raw_client"]
