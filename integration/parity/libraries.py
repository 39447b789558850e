"""redis-limpyd and tenantlimpyd under the same names, so that a scenario runs on either."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import attrs

from tenantlimpyd import fields as our_fields
from tenantlimpyd import indexes as our_indexes
from tenantlimpyd import model as our_model
from tenantlimpyd.contrib import collection as our_collections
from tenantlimpyd.contrib import indexes as our_more_indexes
from tenantlimpyd.contrib import related as our_related
from tenantlimpyd.contrib.database import PipelineDatabase as OurPipelines
from tenantlimpyd.database import RedisDatabase as OurDatabase

with warnings.catch_warnings():
    # limpyd imports pkg_resources, which setuptools warns about.
    for category in (DeprecationWarning, UserWarning):
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=category)
    from limpyd import fields as limpyd_fields
    from limpyd import indexes as limpyd_indexes
    from limpyd import model as limpyd_model
    from limpyd.contrib import collection as limpyd_collections
    from limpyd.contrib import indexes as limpyd_more_indexes
    from limpyd.contrib import related as limpyd_related
    from limpyd.contrib.database import PipelineDatabase as LimpydPipelines
    from limpyd.database import RedisDatabase as LimpydDatabase

__all__ = ["LIMPYD", "OURS", "Library"]


@attrs.frozen
class Library:
    """What a scenario needs of a library."""

    name: str
    model: ModuleType
    fields: ModuleType
    indexes: ModuleType
    more_indexes: ModuleType
    collections: ModuleType
    related: ModuleType
    database_class: type
    pipelines: type

    def connect(self, settings: dict[str, Any], db: int) -> Any:
        """Return a new database object: models of one name can be made again on it."""
        return self.database_class(**settings, db=db)

    def index_class(self, name: str) -> Any:
        """Return an index class by its name."""
        return getattr(self.more_indexes, name, None) or getattr(self.indexes, name)

    def disconnect(self, database: Any) -> None:
        """Close a database's connections. limpyd keeps every client in a cache of the class, for ever."""
        if self is OURS:
            database.close()
            return
        database.connection.close()
        cache = LimpydDatabase._connections
        for key in [key for key, client in cache.items() if client is database.connection]:
            del cache[key]


LIMPYD = Library(
    "limpyd",
    limpyd_model,
    limpyd_fields,
    limpyd_indexes,
    limpyd_more_indexes,
    limpyd_collections,
    limpyd_related,
    LimpydDatabase,
    LimpydPipelines,
)
OURS = Library(
    "tenantlimpyd",
    our_model,
    our_fields,
    our_indexes,
    our_more_indexes,
    our_collections,
    our_related,
    OurDatabase,
    OurPipelines,
)
