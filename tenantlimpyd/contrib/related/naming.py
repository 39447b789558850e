"""What a related field is called on the other side, and which model that is."""

from __future__ import annotations

import re
from typing import Any, Final

from tenantlimpyd.contrib.related.models import RelatedModel
from tenantlimpyd.exceptions import ImplementationError, shown
from tenantlimpyd.keys import make_key

__all__ = ["check_target", "re_identifier", "related_name_of", "target_of"]

re_identifier: Final = re.compile(r"\W")
"""Matches what a related name can't hold."""

_DEFAULT = "%(model)s_set"


def check_target(to: Any) -> None:
    """Raise unless ``to`` can say which model a related field stands for.

    Raises:
        ImplementationError: If it is neither a concrete ``RelatedModel`` nor a name.
    """
    if isinstance(to, str) and re_identifier.sub("", to.rpartition(":")[2]):
        return
    if isinstance(to, type) and issubclass(to, RelatedModel) and not to.abstract:
        return
    given = f"the class {to.__name__}" if isinstance(to, type) else shown(to)
    raise ImplementationError(
        "a related field is for a model that inherits from RelatedModel and is not abstract, given as the class, as 'Name', "
        f"'namespace:Name' or 'self'; not for {given}"
    )


def target_of(to: Any, model: Any) -> str:
    """Return the storage name of the model that ``to`` says, for a field of ``model``."""
    if isinstance(to, type):
        return to._name  # type: ignore[attr-defined, no-any-return]
    if to == "self":
        return model._name  # type: ignore[no-any-return]
    namespace, named, name = to.rpartition(":")
    return make_key(namespace if named else model.namespace or "", name.lower())


def related_name_of(given: str | None, model: Any, *, inherited: bool) -> str:
    """Return the name by which targets find the objects of ``model``.

    Args:
        given: what the field was declared with; ``%(namespace)s`` and ``%(model)s`` in it stand for those of ``model``.
        model: the field's model.
        inherited: whether a model that ``model`` inherits from has the name already, unless it depends on the model.

    Raises:
        ImplementationError: If the name can't be that of an attribute.
    """
    words = {"namespace": re_identifier.sub("_", model.namespace or ""), "model": model.__name__}
    template = given or _DEFAULT
    try:
        name = template % words
    except (KeyError, TypeError, ValueError):
        raise ImplementationError(
            f"the related name {shown(template)} can have %(namespace)s and %(model)s in it, and no other %"
        ) from None
    if inherited and name == template:
        name = f"{model.__name__}_{name}"
    name = name.lower()
    if not name.isidentifier() or name.startswith("_"):
        raise ImplementationError(
            f"the related name {shown(name)} can't be an attribute: use letters, digits and _, and a letter first"
        )
    return name
