"""Protocols: what packages of the object mapper need of one another's classes.

They break import cycles: an index refers to its field, a field to its model (:mod:`tenantlimpyd.fields.owner`), a host to
its models, and each of these packages is below the one it refers to. Packages may use a private name of another one if a
protocol declares it (``scripts/check_private_names.py``). Such names are private because models and their objects have them,
whose public names belong to the application's fields.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tenantlimpyd._operations.steps import PLAIN, Operation, Traits

__all__ = [
    "CollectionState",
    "IndexedField",
    "ModelClass",
    "PipelinedDatabase",
    "QueueTarget",
    "Queueable",
    "QueueingPipeline",
    "RelationHost",
    "RoutedDatabase",
    "TenantAccess",
]


class ModelClass(Protocol):
    """A model, as its host, its fields and its indexes see it."""

    __name__: str
    __module__: str
    __qualname__: str
    abstract: bool
    database: Any
    _registered: bool
    """Whether the host has registered the class; a class whose definition was refused is not a model."""

    @property
    def _name(self) -> str:
        """The storage name: namespace and name in lower case."""

    @property
    def _fields(self) -> Sequence[str]:
        """The names of the fields in order of their definition."""

    @property
    def _class_fields(self) -> Mapping[str, Any]:
        """The declarations of the fields, by name."""

    @property
    def _related_fields(self) -> tuple[str, ...]:
        """The names of the fields that hold pks of other objects."""

    def _same_definition(self, other: Any) -> bool:
        """Return whether another class is the same definition, executed again."""

    def __subclasses__(self) -> list[Any]:
        """Return the submodels."""

    def storage_name(self, prefix: str = "") -> str:
        """Return the storage name with a key prefix."""

    def collection_key(self, prefix: str = "") -> str:
        """Return the key of the set of pks."""

    def has_field(self, name: str) -> bool:
        """Return whether there is a field of this name."""

    def get_class_field(self, name: str) -> Any:
        """Return the declaration of a field."""


class IndexedField(Protocol):
    """The declaration of a field, as its indexes see it."""

    name: str
    unique: bool

    @property
    def _model(self) -> Any:
        """The model that declares the field."""

    @property
    def indexes(self) -> Sequence[Any]:
        """The indexes of the field."""

    @property
    def many_values(self) -> bool:
        """Whether each value of many is indexed."""

    @property
    def has_subkeys(self) -> bool:
        """Whether values are indexed by sub-key."""

    def from_python(self, value: Any) -> Any:
        """Return a value as it is indexed."""

    def unique_index(self) -> Any:
        """Return the index that keeps values unique."""

    def at(self, placement: Any, pk: Any) -> Any:
        """Return the field bound to an object."""

    def put(self, indexes: Any, values: Any, *, adding: bool, claiming: bool = True) -> Operation[None]:
        """Add or remove index entries of values."""

    def find_owner(self, indexes: Any, values: Any) -> Operation[None]:
        """Raise if another object has one of the values."""

    def clear_these(
        self, indexes: Sequence[Any], placement: Any, chunk_size: int, *, aggressive: bool
    ) -> Operation[None]:
        """Remove all entries of some indexes."""

    def rebuild_these(
        self, indexes: Sequence[Any], placement: Any, chunk_size: int, *, aggressive: bool
    ) -> Operation[None]:
        """Remove all entries of some indexes, and add those of the stored values."""


class QueueTarget(NamedTuple):
    """What an operation reads or changes, which decides about its order in a pipeline.

    Attributes:
        stored: the object; None: the operation may run in any order.
        field: the name of the field; None: the whole object.
        many: whether that is an indexed field of many values.
    """

    stored: Any = None
    field: str | None = None
    many: bool = False


class Queueable(Protocol):
    """A field or an object, whose operations a pipeline can queue."""

    def _queue_target(self) -> QueueTarget:
        """Return what operations of this field or object are about."""


class QueueingPipeline(Protocol):
    """A pipeline, as what finds the current one sees it."""

    database: Any
    entered: bool
    shared: bool
    place: Any

    @property
    def queueing(self) -> bool:
        """Whether it queues commands now."""

    def take(self, operation: Operation[Any], owner: Any = None, traits: Traits = PLAIN) -> Any:
        """Queue an operation, or run it at once while keys are watched."""

    def atake(self, operation: Operation[Any], owner: Any = None, traits: Traits = PLAIN) -> Coroutine[Any, Any, Any]:
        """Queue an operation like :meth:`take`; the result is awaited."""


class PipelinedDatabase(Protocol):
    """A database, as its pipelines see it: they send through its clients, also while :attr:`connection` is a pipeline."""

    @property
    def _clients(self) -> Any:
        """The redis-py clients."""


class RelationHost(Protocol):
    """A host of models, as relations see it."""

    def _related_model(self, name: str) -> Any:
        """Return the model of a relation's target; None: there is none yet."""

    def _relations_to(self, model: Any) -> list[Any]:
        """Return the relations whose fields hold pks of a model's objects."""


class CollectionState(Protocol):
    """A collection, as extensions copy and change it."""

    _filters: Any
    """What its filters ask for."""
    _pks: list[Any]
    """The pks that filters name."""
    _order: Any
    """What it is sorted by; None: nothing."""
    _shape: Any
    """What its results are."""

    def _list(self) -> Operation[list[Any]]:
        """Return its results."""


class RoutedDatabase(Protocol):
    """A database, as routers see it."""

    @property
    def _used(self) -> Any:
        """The endpoint; None while the database has not been used."""

    def _guarded_by(self, guard: Any) -> Any:
        """Return a context manager that lets a registry of tenants check changes of the keyspace from now on."""

    def _unguarded_by(self, guard: Any) -> None:
        """End that."""

    def _use_budget(self, budget: Any) -> None:
        """Count connections under a budget, unless the database has its own."""


class TenantAccess(Protocol):
    """A router, as middleware and the command line see it."""

    def _jobs(self, tenants: Any, *, allow_switch: bool) -> list[Any]:
        """Return tenants with their databases of now."""

    def _probe(self, *, tenants: Any = None, timeout: float = 5.0) -> Mapping[str, Any]:
        """Return the facts of each tenant's server."""

    def _request_scope(self, tenant: str | None, *, allow_switch: bool = False) -> Any:
        """Return the scope of a request, inside which another tenant can't be entered."""
