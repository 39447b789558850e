"""Foreign keys: fields that link to one object."""

from __future__ import annotations

from typing import ClassVar

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.contrib.related.mixins import DatabaseClients, M, SimpleValueRelatedFieldMixin
from tenantlimpyd.fields.instance_hash import InstanceHashField
from tenantlimpyd.fields.key_expiry import Seconds
from tenantlimpyd.fields.string import StringField

__all__ = ["FKInstanceHashField", "FKStringField"]


class FKStringField(SimpleValueRelatedFieldMixin[M], StringField):
    """A foreign key in a string of its own."""

    _commands_with_single_value_from_python: ClassVar[list[str]] = ["set", "setnx", "getset"]

    def _set(
        self,
        value: DatabaseClients[M],
        ex: Seconds | None = None,
        px: Seconds | None = None,
        nx: bool = False,
        xx: bool = False,
    ) -> Operation[bool]:
        """Link to an object, given as itself, by its pk or as a field that links to it; return True.

        Raises:
            WrongTenantError: If the object belongs to another tenant.
            ImplementationError: If the object is of another model, or in another database.
        """
        return (yield from super()._set((yield from self.linked(value)), ex, px, nx, xx))

    set, aset = twins(_set)
    proxy_set, aproxy_set = set, aset

    def _setnx(self, value: DatabaseClients[M]) -> Operation[bool]:
        """Link to an object if there is no link; return whether that was so."""
        return (yield from super()._setnx((yield from self.linked(value))))

    setnx, asetnx = twins(_setnx)

    def _getset(self, value: DatabaseClients[M]) -> Operation[str | None]:
        """Link to an object and return the pk linked to before."""
        return (yield from super()._getset((yield from self.linked(value))))

    getset, agetset = twins(_getset)


class FKInstanceHashField(SimpleValueRelatedFieldMixin[M], InstanceHashField):
    """A foreign key in the hash that all instance hash fields of an object share."""

    _commands_with_single_value_from_python: ClassVar[list[str]] = ["hset", "hsetnx"]

    def _hset(self, value: DatabaseClients[M]) -> Operation[int]:
        """Link to an object, given as itself, by its pk or as a field that links to it; return 1 where no link was.

        Raises:
            WrongTenantError: If the object belongs to another tenant.
            ImplementationError: If the object is of another model, or in another database.
        """
        return (yield from super()._hset((yield from self.linked(value))))

    hset, ahset = twins(_hset)
    proxy_set, aproxy_set = hset, ahset

    def _hsetnx(self, value: DatabaseClients[M]) -> Operation[bool]:
        """Link to an object if there is no link; return whether that was so."""
        return (yield from super()._hsetnx((yield from self.linked(value))))

    hsetnx, ahsetnx = twins(_hsetnx)
