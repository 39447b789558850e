"""What an index can be asked to do by itself: add and remove entries, find its keys, be cleared and built again.

The steps are operations; those that change an object are the field's, which knows where its values are.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar

from tenantlimpyd._abc import IndexedField
from tenantlimpyd._operations.scan_page import ScanOptions, scan_page
from tenantlimpyd._operations.steps import Batch, Command, Operation
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes.filter_keys import store_source
from tenantlimpyd.indexes.pk_sources import Whole
from tenantlimpyd.keys import escape_glob, make_key

__all__ = ["DEFAULT_CHUNK", "IndexMaintenance", "placed_twins"]

DEFAULT_CHUNK = 1000
"""The number of objects that are processed together if ``chunk_size`` is not given."""

P = ParamSpec("P")
S = TypeVar("S", bound=Any)
T = TypeVar("T")


def placed_twins(
    body: Callable[Concatenate[S, Any, P], Operation[T]],
) -> tuple[Callable[Concatenate[S, P], T], Callable[Concatenate[S, P], Coroutine[Any, Any, T]]]:
    """Return the pair of methods of an operation that needs the placement it was called under, as its first argument."""

    @functools.wraps(body)
    def blocking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        placement = self.placed()
        return placement.runner().run(body(self, placement, *args, **kwargs), self)  # type: ignore[no-any-return]

    @functools.wraps(body)
    def awaiting(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        placement = self.placed()
        return placement.runner().arun(body(self, placement, *args, **kwargs), self)  # type: ignore[no-any-return]

    name = body.__name__.lstrip("_")
    for method, prefix in ((blocking, ""), (awaiting, "a")):
        method.__name__ = prefix + name
        method.__qualname__ = body.__qualname__.removesuffix(body.__name__) + prefix + name
    return blocking, awaiting


class StoredIndex(Protocol):
    """An index whose keys are searched for."""

    field: IndexedField

    @property
    def supported_key_types(self) -> frozenset[str]:
        """The types of its keys."""

    @property
    def fixed_parts(self) -> Sequence[str]:
        """What its keys have between the name of the field and the value."""

    @property
    def ends_with_value(self) -> bool:
        """Whether its keys end with the value."""

    def leaves(self) -> Sequence[Any]:
        """Return the indexes that it is composed of, or itself."""

    def _get_all_storage_keys(self, placement: Any) -> Operation[set[str]]:
        """Return its keys."""


class IndexMaintenance:
    """The part of an index that talks to Redis, on the database that is current when a method is called."""

    if TYPE_CHECKING:
        field: IndexedField
        supported_key_types: ClassVar[frozenset[str]]
        leaves: Callable[[], list[Any]]
        storage_key: Callable[..., str]
        source: Callable[..., Any]
        remove_prefix: Callable[[str | None], str | None]

    def placed(self) -> Any:
        """Return where the index is at work now."""
        return self.field._model.database._current_placement()

    @property
    def model(self) -> Any:
        """The model of the index's field."""
        return self.field._model

    @property
    def connection(self) -> Any:
        """The sync redis-py client of the current database."""
        return self.placed().runner().connection

    def _storage(self, placement: Any) -> str:
        return str(self.field._model.storage_name(placement.database.key_prefix))

    def get_storage_key(self, *args: Any, transform_value: bool = True) -> str:
        """Return the key for a value in the current database, its prefix included.

        Args:
            *args: the value, after the sub-key for fields that have them.
            transform_value: False where the value already is transformed.
        """
        return self.storage_key(self._storage(self.placed()), *args, transform_value=transform_value)

    def _get_filtered_keys(  # noqa: D417 - callers give no placement
        self, placement: Any, suffix: str | None, *args: Any, accepted_key_types: Any = None
    ) -> Operation[list[tuple[str, str, bool]]]:
        """Return the keys of pks that match a filter, each with its kind and whether it was made for this.

        Keys made for this are the caller's to delete, and expire after five minutes.

        Args:
            suffix: what the filter ends with, this index's prefix included.
            *args: the filter's value, after the sub-key for fields that have them.
            accepted_key_types: the kinds the caller can take; None: any.

        Raises:
            ImplementationError: If the index has keys of none of these kinds.
        """
        accepted = set(self.supported_key_types if accepted_key_types is None else accepted_key_types)
        if not accepted & set(self.supported_key_types):
            given, wanted = (" or ".join(sorted(kinds)) for kinds in (self.supported_key_types, accepted))
            raise ImplementationError(f"{type(self).__name__} gives keys of the kind {given}, not {wanted}")
        *subkeys, value = args
        storage = self._storage(placement)
        source = self.source(storage, self.remove_prefix(suffix), value, *subkeys)
        if isinstance(source, Whole) and source.kind in accepted:
            return [(source.key, source.kind, False)]
        kind = "set" if "set" in accepted else "zset"
        target = make_key(storage, "__index__", type(self).__name__.lower(), "tmp", uuid.uuid4().hex)
        yield store_source(source, target, kind)
        return [(target, kind, True)]

    get_filtered_keys, aget_filtered_keys = placed_twins(_get_filtered_keys)

    # Single values

    def _add(self, placement: Any, pk: Any, *args: Any, check_uniqueness: bool = True) -> Operation[None]:  # noqa: D417
        """Add what the index keeps for a value of an object, whatever the object holds.

        Args:
            pk: the object's.
            *args: the value, after the sub-key for fields that have them.
            check_uniqueness: whether a unique value of another object is refused.

        Raises:
            UniquenessError: If another object has the value. Nothing was added.
            DoesNotExist: If no object has this pk.
        """
        field = self.field.at(placement, pk)
        yield from field.put([self], [args], adding=True, claiming=check_uniqueness)

    add, aadd = placed_twins(_add)

    def _remove(self, placement: Any, pk: Any, *args: Any) -> Operation[None]:
        """Remove what the index keeps for a value of an object; arguments as for :meth:`add`."""
        field = self.field.at(placement, pk)
        yield from field.put([self], [args], adding=False)

    remove, aremove = placed_twins(_remove)

    def _check_uniqueness(self, placement: Any, pk: Any, *args: Any) -> Operation[None]:
        """Raise if another object has a value; arguments as for :meth:`add`.

        Raises:
            UniquenessError: If another object has the value.
        """
        yield from self.field.at(placement, pk).find_owner([self], [args])

    check_uniqueness, acheck_uniqueness = placed_twins(_check_uniqueness)

    # All of it

    def _clear(self, placement: Any, chunk_size: int = DEFAULT_CHUNK, aggressive: bool = False) -> Operation[None]:
        """Remove the entries of all objects' values; see :meth:`RedisField.clear_indexes`."""
        yield from self.field.clear_these([self], placement, chunk_size, aggressive=aggressive)

    clear, aclear = placed_twins(_clear)

    def _rebuild(
        self, placement: Any, chunk_size: int = DEFAULT_CHUNK, aggressive_clear: bool = False
    ) -> Operation[None]:
        """Add the entries of all objects' values; see :meth:`RedisField.rebuild_indexes`."""
        yield from self.field.rebuild_these([self], placement, chunk_size, aggressive=aggressive_clear)

    rebuild, arebuild = placed_twins(_rebuild)

    def _get_all_storage_keys(self, placement: Any) -> Operation[set[str]]:
        """Return all keys of the index that there are, found by a scan of the database.

        A key that may be the value of a field, or belong to another index or model, is left out.
        """
        found: set[str] = set()
        for leaf in self.leaves():
            found |= yield from _keys_of(leaf, placement)
        return found

    get_all_storage_keys, aget_all_storage_keys = placed_twins(_get_all_storage_keys)


def _keys_of(index: StoredIndex, placement: Any) -> Operation[set[str]]:
    prefix, name = placement.database.key_prefix, index.field._model._name
    start = make_key(name, index.field.name) + ":"
    found: set[str] = set()
    for kind in sorted(index.supported_key_types):
        wanted = ScanOptions.of(prefix, escape_glob(start) + "*", None, kind)
        cursor: int | None = 0
        while cursor is not None:
            cursor, page = yield from scan_page(wanted, cursor)
            found.update(key for key in page if _is_own(index, key, start))
    uncertain = {key: list(_objects(index, key, name)) for key in found}
    asked = [(key, pk) for key, pks in uncertain.items() for pk in pks]
    live = index.field._model.collection_key(prefix)
    replies = (yield Batch([Command("SISMEMBER", live, pk) for _, pk in asked])) if asked else []
    taken = {key for (key, _), there in zip(asked, replies, strict=True) if there}
    return {prefix + key for key in found - taken}


def _is_own(index: StoredIndex, key: str, start: str) -> bool:
    """Return whether a key that starts with the field's is this index's, by its name."""
    rest = key[len(start) :]
    if not _fits(index, rest):
        return False
    others = [each for other in index.field.indexes for each in other.leaves() if each is not index]
    if any(_fits(each, rest) and _more_exact(each, index) for each in others):
        return False
    own = index.field._model._name
    models = index.field._model.database._models
    return not any(len(name) > len(own) and key.startswith(name + ":") for name in models)


def _fits(index: StoredIndex, rest: str) -> bool:
    fixed = ":".join(index.fixed_parts)
    if index.field.has_subkeys:
        if not fixed:
            return ":" in rest
        # Where a sub-key is part of what is indexed together, nothing stands before the fixed parts.
        return f":{fixed}:" in f":{rest}" if index.ends_with_value else rest.endswith(f":{fixed}")
    if not index.ends_with_value:
        return rest == fixed
    return rest.startswith(f"{fixed}:") if fixed else True


def _more_exact(one: StoredIndex, other: StoredIndex) -> bool:
    return (not one.ends_with_value, len(one.fixed_parts)) > (not other.ends_with_value, len(other.fixed_parts))


def _objects(index: StoredIndex, key: str, name: str) -> Iterator[str]:
    """Return the pks whose objects would have a value in this key."""
    for last in (*index.field._model._fields, "hash"):
        if key.endswith(f":{last}") and len(key) > len(name) + len(last) + 2:
            yield key[len(name) + 1 : -len(last) - 1]
