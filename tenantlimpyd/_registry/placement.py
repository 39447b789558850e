"""Where a model's objects live: the database, and the tenant for whom it was found."""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from tenantlimpyd._operations.steps import Runner

__all__ = ["Database", "Placement"]


class Database(Runner, Protocol):
    """The interface of a database for models: it runs operations, and has a key prefix."""

    @property
    def key_prefix(self) -> str:
        """The text before every key of the database; may be empty."""
        ...

    @property
    def connection(self) -> Any:
        """The redis-py client."""
        ...


class PlacementHost(Protocol):
    """What a model is bound to, as its placements need it."""

    def _current_placement(self) -> Any:
        """Return where an object that is made now lives."""

    def _check_placement(self, placement: Any, /) -> None:
        """Raise if an object of this placement may not be used in this context."""


@attrs.frozen(eq=False)
class Placement:
    """The placement of an object when it is made: the database and, for a routed model, the tenant.

    Attributes:
        database: runs the objects' operations for as long as they live.
        host: the host that the model is bound to: the database itself, or a router.
        tenant: the tenant id; None if the host is not a router.
    """

    database: Any
    host: PlacementHost
    tenant: str | None = None

    def runner(self) -> Database:
        """Return the database, after the host has checked that it may be used in this context.

        Raises:
            WrongTenantError: If another tenant of the same router is current.
        """
        self.host._check_placement(self)
        return self.database  # type: ignore[no-any-return]
