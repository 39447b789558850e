from __future__ import annotations

from typing import Any

import pytest

from tenantlimpyd import fields
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tests.models.conftest import database, flushed_server, mode, person, raw, raw_client
from tests.models.support import define

__all__ = ["database", "flushed_server", "mode", "person", "raw", "raw_client"]


@pytest.fixture
def made(database: Any) -> Any:
    """``made(name=StringField(), ...)``: a model of these fields, with extended collections."""

    def make(name: str = "Thing", /, **body: Any) -> Any:
        return define(database, name, **{"collection_manager": ExtendedCollectionManager, "namespace": "p", **body})

    return make


@pytest.fixture
def numbered(made: Any) -> Any:
    """A model with an indexed string, whose pk the application gives."""
    return made(code=fields.PKField(), f=fields.StringField(indexable=True))
