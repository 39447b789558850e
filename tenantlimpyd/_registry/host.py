"""The host of models: the model registry of a database or router, and the placement of a model's objects."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from tenantlimpyd._abc import ModelClass
from tenantlimpyd._registry.placement import Placement
from tenantlimpyd._registry.relations import Relation, Relations
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes import BaseIndex, EqualIndex
from tenantlimpyd.pipelines import PipelineHost

__all__ = ["ModelHost"]


class _Registry:
    """The models of a host, by name, their relations, and the lock under which both change."""

    __slots__ = ("lock", "models", "relations")

    def __init__(self) -> None:
        self.models: dict[str, ModelClass] = {}
        self.relations = Relations()
        self.lock = threading.RLock()


_making = threading.Lock()


class ModelHost(PipelineHost):
    """The registry of models. A ``RedisDatabase`` and a ``DatabaseRouter`` are hosts.

    Names and relations are kept on the host, so that a router's don't depend on the tenant that was current when a
    module was imported.
    """

    default_indexes: ClassVar[list[type[BaseIndex]] | None] = [EqualIndex]

    __slots__ = ("_registry",)

    def __init__(self) -> None:
        self._registry: _Registry | None = None  # most tenants' databases host no model: their router does

    def _registered(self) -> _Registry:
        registry = self._registry
        if registry is None:
            with _making:
                if self._registry is None:
                    self._registry = _Registry()
                registry = self._registry
        return registry

    @property
    def _models(self) -> dict[str, ModelClass]:
        return self._registered().models

    @property
    def _relations(self) -> Relations:
        return self._registered().relations

    @property
    def _models_lock(self) -> threading.RLock:
        return self._registered().lock

    @classmethod
    def get_default_indexes(cls) -> list[type[BaseIndex]]:
        """Return the index classes of indexable fields that don't name any."""
        return cls.default_indexes or []

    def _current_placement(self) -> Placement:
        """Return the placement of an object that is made now."""
        raise NotImplementedError

    def _check_placement(self, placement: Placement) -> None:
        """Raise an error if an object with this placement may not be used in this context."""

    def _add_model(self, model: ModelClass, *, replacing: bool = False) -> ModelClass:
        """Register a model and return it, or the one registered before from the same source with the same definition.

        Args:
            model: the new class.
            replacing: whether the new class replaces a registered one with the same definition, instead of being dropped.

        Raises:
            ImplementationError: If another model has this namespace and name here, or another field a related name.
        """
        with self._models_lock:
            registered = self._models.get(model._name)
            if registered is None:
                self._relations.check([model], {**self._models, model._name: model})
                self._relations.add(model)
                self._models[model._name] = model
                return model
        if not registered._same_definition(model):
            raise ImplementationError(
                f"{_described(model)} can't be registered as {model._name!r}: {_described(registered)} has that name in "
                "this database. Give one of them another class name or namespace."
            )
        if replacing:
            with self._models_lock:
                self._models[model._name] = model
            registered._registered = False
            return model
        return registered

    def _related_model(self, name: str) -> ModelClass | None:
        """Return the model that a relation's target names; None if it is not defined (yet)."""
        return self._relations.target(name, self._models)  # type: ignore[no-any-return]

    def _relations_to(self, model: Any) -> list[Relation]:
        """Return the relations whose fields hold pks of a model's objects."""
        return self._relations.to(model, self._models)

    def _use_for_model(self, model: Any) -> list[Any]:
        """Move a model, and its submodels that share its database, to this host: all of them, or none.

        Returns:
            The models moved.

        Raises:
            ImplementationError: If this host already has a model or a related name of that name. Nothing was moved.
        """
        source: ModelHost | None = getattr(model, "database", None)
        if source is self:
            return []
        hosts = sorted({id(host): host for host in (self, source) if host is not None}.items())
        locks = [host._models_lock for _, host in hosts]  # always in one order: two moves at once can't deadlock
        for lock in locks:
            lock.acquire()
        try:
            if getattr(model, "database", None) is not source:  # somebody else moved it meanwhile
                return self._use_for_model(model)
            moved = _with_submodels(model, source)
            concrete = [each for each in moved if not each.abstract]
            names = [each._name for each in concrete]
            for each in concrete:
                taken = self._models.get(each._name)
                if (taken is not None and taken is not each) or names.count(each._name) > 1:
                    other = taken or next(twin for twin in concrete if twin is not each and twin._name == each._name)
                    raise ImplementationError(
                        f"{_described(model)} was not moved: {_described(other)} already is {each._name!r} there."
                    )
            self._relations.check(concrete, {**self._models, **{each._name: each for each in concrete}})
            for each in concrete:
                self._models[each._name] = each
                self._relations.add(each)
                if source is not None and source._models.get(each._name) is each:
                    del source._models[each._name]
                    source._relations.remove(each)
            for each in moved:
                each.database = self
        finally:
            for lock in reversed(locks):
                lock.release()
        return moved


def _described(model: ModelClass) -> str:
    return f"{model.__module__}.{model.__qualname__}"


def _with_submodels(model: ModelClass, source: ModelHost | None) -> list[ModelClass]:
    """Return the model and, through its submodels, those bound to ``source``; each once, however it is inherited.

    Classes whose registration was refused are no models, though Python remembers them among the subclasses for a while.
    """
    found: dict[ModelClass, None] = {}
    waiting = [model]
    while waiting:
        each = waiting.pop()
        known = each.abstract or each.__dict__.get("_registered", False)
        if known and each not in found and getattr(each, "database", None) is source:
            found[each] = None
            waiting.extend(reversed(each.__subclasses__()))
    return list(found)
