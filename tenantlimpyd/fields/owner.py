"""What fields need of the models and objects that they belong to. Models are above fields, which don't import them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tenantlimpyd._abc import ModelClass
from tenantlimpyd._operations.steps import Operation
from tenantlimpyd._registry.placement import Database, Placement
from tenantlimpyd.atomic import Change, KnownValues, Stored, ValueChange, ValueLocation
from tenantlimpyd.indexes import BaseIndex, Entry

__all__ = ["ModelInstance", "OwnerClass"]


class OwnerClass(ModelClass, Protocol):
    """The model of a field."""

    def lazy_connect(self, pk: Any) -> Any:
        """Return the object of a pk, without a round trip."""

    def _placed(self, placement: Placement, pk: Any = None) -> Any:
        """Return an object that lives at a placement."""

    def _collection_at(self, placement: Placement, filters: Mapping[str, Any], manager: Any = None) -> Any:
        """Return a collection of the objects at a placement."""


class ModelInstance(Protocol):
    """The object of a bound field: its place, its state, and the changes that it makes together with its indexes."""

    _placement: Placement
    _pk: str | None
    _known: dict[ValueLocation, Stored]
    """The values of indexed fields as they were seen last."""
    created_here: bool

    @property
    def has_pk(self) -> bool:
        """Whether it has a pk."""

    @property
    def known_pk(self) -> str:
        """The pk; an error if there is none."""

    @property
    def key_base(self) -> str:
        """The beginning of the keys of its fields."""

    @property
    def _storage(self) -> str:
        """The storage name of its model, with the key prefix."""

    def _live(self) -> str:
        """Return the key of the set of pks."""

    def _resolve(self) -> Database:
        """Return the database, once it may be used in this context."""

    def require_pk(self) -> None:
        """Raise unless it has a pk."""

    def refuse_deleted(self) -> None:
        """Raise if it was deleted."""

    def ready_to_write(self) -> Operation[None]:
        """Store it or look it up, before a field is written."""

    def ready_to_change(self) -> Operation[None]:
        """Store it if it has no pk, before a change that asks by itself whether it exists."""

    def post_command(self, sender: Any, name: str, result: Any, args: Any, kwargs: Any) -> Any:
        """Pass the result of a command through the hook."""

    def _verify(self) -> Operation[None]:
        """Look it up, unless that was done before."""

    def _seen(self) -> None:
        """Record that it is in the database."""

    def _bound_field(self, name: str) -> Any:
        """Return one of its fields."""

    def _create(self, values: dict[str, Any]) -> Operation[None]:
        """Store it with values."""

    def _create_empty(self) -> Operation[None]:
        """Store it with its defaults."""

    def _new_change(self, rule: str) -> Change:
        """Return an empty change of it."""

    def _known_value(self, slot: ValueLocation) -> Stored:
        """Return the value that was seen last."""

    def _remember(self, slot: ValueLocation, value: Stored) -> None:
        """Keep a value that was seen."""

    def _reindex(
        self, change: Change, known: KnownValues, turns: Sequence[ValueChange], *, fresh: bool = False
    ) -> None:
        """Add what indexes have to follow to a change."""

    def _row(self, change: Change, known: KnownValues, index: Any, *, without: str | None = None) -> dict[str, Any]:
        """Return the known values that an index over several fields needs."""

    def _claimed(self, change: Change, index: Any, row: Mapping[str, Any]) -> set[Entry]:
        """Return the entries of values, and claim what must be unique of them."""

    def _entries(self, index: BaseIndex, turn: ValueChange, value: Any) -> set[Entry]:
        """Return the entries of a value."""
