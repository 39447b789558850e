"""How a class of related fields is made: its commands learn to take objects."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.exceptions import ImplementationError

__all__ = ["RelatedFieldMetaclass"]


class RelatedFieldMetaclass(type):
    """The class of related field classes. Commands that a class names take objects, as those of the fields here do.

    A class of your own names the commands it adds in ``_commands_with_single_value_from_python`` (whose first argument, or
    ``value``, is an object) and ``_commands_with_many_values_from_python`` (all of whose arguments are). Each needs its
    operation, ``_command``, in a base.
    """

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: Any) -> Any:
        """Make the class."""
        cls: Any = super().__new__(mcs, name, bases, body, **options)
        for listed, many in (
            ("_commands_with_single_value_from_python", False),
            ("_commands_with_many_values_from_python", True),
        ):
            for command in body.get(listed, ()):
                definer = next((base for base in cls.__mro__ if f"_{command}" in vars(base)), None)
                if definer is None:
                    raise ImplementationError(f"{name} names the command {command!r}, and has no operation _{command}")
                if not isinstance(definer, RelatedFieldMetaclass):
                    operation = _linking(cls, f"_{command}", vars(definer)[f"_{command}"], many=many)
                    setattr(cls, f"_{command}", operation)
                    blocking, awaiting = twins(operation)
                    setattr(cls, command, blocking)
                    setattr(cls, f"a{command}", awaiting)
        return cls


def _linking(cls: Any, name: str, body: Callable[..., Operation[Any]], *, many: bool) -> Callable[..., Operation[Any]]:
    """Return the operation ``name`` of the classes above ``cls``, with pks in the place of objects."""

    @functools.wraps(body)
    def operation(self: Any, *args: Any, **options: Any) -> Operation[Any]:
        if "value" in options:
            options["value"] = yield from self.linked(options["value"])
        linked = yield from self.all_linked(args if many else args[:1])
        return (yield from getattr(super(cls, self), name)(*linked, *args[len(linked) :], **options))

    return operation
