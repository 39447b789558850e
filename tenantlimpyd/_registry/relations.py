"""The relations between the models of a host: which fields hold pks of which model, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from tenantlimpyd.exceptions import ImplementationError

__all__ = ["Relation", "Relations"]


@attrs.frozen
class Relation:
    """A relation: a field that holds pks of the objects of a model.

    Attributes:
        owner: the storage name of the field's model.
        field: the field's name.
        target: the storage name of the model whose pks it holds.
        related_name: the attribute of the target's objects for the objects that link to them.
    """

    owner: str
    field: str
    target: str
    related_name: str


def _relations_of(model: Any) -> Iterator[Relation]:
    return (model._class_fields[name].relation for name in model._related_fields)


class Relations:
    """The relations between the models of a host. Not thread-safe: the host's lock must be held."""

    def __init__(self) -> None:
        self._by_target: dict[str, tuple[Relation, ...]] = {}

    def target(self, name: str, models: Mapping[str, Any]) -> Any:
        """Return the model of a storage name, in upper or lower case as in limpyd; None if it is not defined (yet)."""
        exact = models.get(name)
        if exact is not None:
            return exact
        return next((model for known, model in list(models.items()) if known.lower() == name.lower()), None)

    def to(self, model: Any, models: Mapping[str, Any]) -> list[Relation]:
        """Return the relations whose fields hold pks of a model's objects."""
        aimed = self._by_target.get(model._name.lower(), ())
        return [each for each in aimed if each.target == model._name or self.target(each.target, models) is model]

    def check(self, joining: Iterable[Any], models: Mapping[str, Any]) -> None:
        """Raise an error if relations of or to some models conflict with the existing relations.

        Args:
            joining: the models.
            models: all models of the host, these included.

        Raises:
            ImplementationError: two fields give one model the same related name, or one that means something already; or
                a model is the target of relations and doesn't know them.
        """
        joining = list(joining)
        names = {model._name for model in joining}
        new = [relation for model in joining for relation in _relations_of(model)]
        for model in joining:
            _check_found(model)
        for target in {relation.target.lower() for relation in new} | {name.lower() for name in names}:
            kept = [each for each in self._by_target.get(target, ()) if each.owner not in names]
            taken: dict[str, Relation] = {}
            for relation in [*kept, *(each for each in new if each.target.lower() == target)]:
                other = taken.setdefault(relation.related_name, relation)
                if other is not relation:
                    raise ImplementationError(
                        f"the related name {relation.related_name!r} of the field {relation.field!r} of {relation.owner!r} "
                        f"is taken: the field {other.field!r} of {other.owner!r} gives it to {relation.target!r} already. "
                        "Give one of them another related_name; in an abstract base write it with %(model)s."
                    )
                _check_target(relation, self.target(relation.target, models))

    def add(self, model: Any) -> None:
        """Add the relations of a model's fields."""
        for relation in _relations_of(model):
            target = relation.target.lower()
            self._by_target[target] = (*self._by_target.get(target, ()), relation)

    def remove(self, model: Any) -> None:
        """Remove the relations of a model's fields."""
        for target in {relation.target.lower() for relation in _relations_of(model)}:
            self._by_target[target] = tuple(each for each in self._by_target[target] if each.owner != model._name)


def _check_found(model: Any) -> None:
    for name in model._related_fields:
        indexes = model._class_fields[name].indexes
        if not any(each.can_handle_suffix(None) and getattr(each, "filter_single_field", True) for each in indexes):
            raise ImplementationError(
                f"no index of the related field {name!r} of {model.__name__} finds objects by its value: add an EqualIndex"
            )


def _check_target(relation: Relation, target: Any) -> None:
    if target is None:
        return
    if not getattr(target, "_knows_relations", False):
        raise ImplementationError(
            f"the field {relation.field!r} of {relation.owner!r} holds pks of {target.__name__}, which would not clear them "
            "when its objects are deleted: let it inherit from tenantlimpyd.contrib.related.RelatedModel"
        )
    hidden = relation.related_name in {"database", "created_here"}
    if hidden or any(relation.related_name in vars(base) for base in target.__mro__):
        raise ImplementationError(
            f"the field {relation.field!r} of {relation.owner!r} can't have the related name {relation.related_name!r}: "
            f"{target.__name__} has that attribute. Give the field another related_name."
        )
