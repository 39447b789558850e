"""Objects as values of related fields: which may be linked, and what is stored of them."""

from __future__ import annotations

from typing import Any, Protocol

from tenantlimpyd._registry.placement import Placement
from tenantlimpyd.exceptions import ImplementationError, WrongTenantError

__all__ = ["check_model", "check_place"]


class LinkingField(Protocol):
    """A field whose values are links to objects."""

    name: str

    @property
    def _model(self) -> Any:
        """The model of the field."""

    @property
    def related_model(self) -> Any:
        """The model of the objects."""


def check_place(field: LinkingField, mine: Placement, other: Placement, what: str) -> None:
    """Raise unless something at ``other`` may be linked to an object at ``mine`` by a field.

    Raises:
        WrongTenantError: If they belong to two tenants.
        ImplementationError: If they are in two databases.
    """
    if mine.tenant is not None and other.tenant is not None and mine.tenant != other.tenant:
        raise WrongTenantError(
            f"{what} belongs to tenant {other.tenant!r}, and can't be linked to by {field.name!r} of an object of "
            f"{mine.tenant!r}: relations never cross tenants"
        )
    if mine.database is not other.database:
        raise ImplementationError(
            f"{what} is in another database than the object whose {field.name!r} should link to it: a relation needs both "
            "in one. To remember an object elsewhere, keep its pk in a field that is no relation."
        )


def check_model(field: LinkingField, model: Any, what: str) -> None:
    """Raise an error unless a field links to objects of ``model``.

    Raises:
        ImplementationError: If the field links to objects of another model.
    """
    target = field.related_model
    if model is not target and (model._name, model.database) != (target._name, target.database):
        raise ImplementationError(
            f"{what} can't be linked to by {field.name!r} of {field._model.__name__}, which stands for {target.__name__}: "
            "pks of one model mean nothing to another"
        )
