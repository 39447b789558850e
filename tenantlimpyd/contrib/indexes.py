"""More indexes: several in one, parts of dates and times, and indexes over several fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tenantlimpyd.exceptions import ImplementationError, shown
from tenantlimpyd.indexes import BaseIndex, Claim, Entry, EqualIndex, NumberRangeIndex, TextRangeIndex
from tenantlimpyd.indexes.multi_field import AtSubkey, Row, Spanning
from tenantlimpyd.indexes.pk_sources import AnyOf, Nothing, Source, Whole
from tenantlimpyd.keys import make_key

if TYPE_CHECKING:
    from tenantlimpyd.fields.base import RedisField

__all__ = [
    "BaseIndex",
    "DateIndex",
    "DateIndexParts",
    "DateRangeIndex",
    "DateSimpleTimeIndex",
    "DateTimeIndex",
    "EqualIndex",
    "EqualIndexWith",
    "MultiIndexes",
    "NumberRangeIndex",
    "ScoredEqualIndex",
    "SimpleDateTimeIndex",
    "TextRangeIndex",
    "TimeIndex",
    "TimeIndexParts",
    "TimeRangeIndex",
]


class MultiIndexes(BaseIndex):
    """Several indexes of a field as one; make one with :meth:`compose`.

    Attributes:
        index_classes: the indexes. A filter goes to the first that takes it.
    """

    index_classes: ClassVar[Sequence[type[BaseIndex]]] = ()
    supported_key_types: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, field: RedisField, parent: BaseIndex | None = None) -> None:
        super().__init__(field, parent)
        self.children = [index(field, self) for index in self.index_classes]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        suffixes: set[str | None] = set()
        kinds: set[str] = set()
        for index in cls.index_classes:
            suffixes |= index.handled_suffixes
            kinds |= index.supported_key_types
        cls.handled_suffixes, cls.supported_key_types = frozenset(suffixes), frozenset(kinds)
        if "handle_uniqueness" not in cls.__dict__:
            cls.handle_uniqueness = any(index.handle_uniqueness for index in cls.index_classes)

    @classmethod
    def compose(
        cls,
        index_classes: Iterable[type[BaseIndex]],
        key: str | None = None,
        transform: Callable[..., Any] | None = None,
        name: str | None = None,
    ) -> type[MultiIndexes]:
        """Return an index class that is several in one.

        Args:
            index_classes: the indexes; composed ones too.
            key: a part of the keys of all of them, before their own.
            transform: changes values before the indexes' own transforms do.
            name: the name of the class.
        """
        body: dict[str, Any] = {"index_classes": tuple(index_classes), "__module__": cls.__module__}
        if key is not None:
            body["key"] = key
        if transform is not None:
            body["transform"] = transform
        return type(name or cls.__name__, (cls,), body)

    @property
    def injective(self) -> bool:
        """Whether two different values never share an entry, in none of the indexes."""
        return all(child.injective for child in self.children)

    def leaves(self) -> list[BaseIndex]:
        """Return the indexes it is composed of."""
        return [leaf for child in self.children for leaf in child.leaves()]

    def spanning(self) -> list[Spanning]:
        """Return those of them that are over several fields."""
        return [each for child in self.children for each in child.spanning()]

    @classmethod
    def checked_model(cls, model: Any, field: RedisField) -> None:
        """Raise where a model can't have one of the indexes."""
        for index in cls.index_classes:
            index.checked_model(model, field)

    @classmethod
    def spanning_classes(cls) -> list[type[Spanning]]:
        """Return the classes of those of the indexes that are over several fields."""
        return [each for index in cls.index_classes for each in index.spanning_classes()]

    def _child(self, suffix: str | None) -> BaseIndex | None:
        fit = [child for child in self.children if child.can_handle_suffix(suffix)]
        return next((child for child in fit if child.filter_single_field), fit[0] if fit else None)

    def can_handle_suffix(self, suffix: str | None) -> bool:
        """Return whether one of the indexes takes a filter that ends with ``suffix``."""
        try:
            return self._child(self.remove_prefix(suffix)) is not None
        except ImplementationError:
            return False

    def storage_key(self, name: str, *args: Any, transform_value: bool = True) -> str:
        """Return the key for a value in the first of the indexes."""
        return self.children[0].storage_key(name, *args, transform_value=transform_value)

    def check_value(self, *args: Any) -> None:
        """Raise where one of the indexes can't take a value."""
        for child in self.children:
            child.check_value(*args)

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:
        """Return what all of the indexes keep for a value."""
        return {entry for child in self.children for entry in child.entries(name, pk, *args)}

    def source(self, name: str, suffix: str | None, value: Any, *subkeys: Any) -> Source:
        """Return what the index that takes the filter says."""
        child = self._child(suffix)
        if child is None:
            raise ImplementationError(f"none of the indexes of {self.field.name!r} takes the filter {shown(suffix)}")
        return child.source(name, child.remove_prefix(suffix), value, *subkeys)

    def claim(self, name: str, *args: Any) -> Claim:
        """Return the first of :meth:`claims`."""
        return self.claims(name, *args)[0]

    def keeper(self) -> BaseIndex:
        """Return the index that keeps values unique: the first one that supports uniqueness.

        Raises:
            ImplementationError: If none of the indexes supports uniqueness.
        """
        for child in self.children:
            if child.handle_uniqueness:
                return child.keeper()
        raise ImplementationError(f"none of the indexes of the unique field {self.field.name!r} can keep it unique")

    def claims(self, name: str, *args: Any) -> list[Claim]:
        """Return what the index that keeps values unique claims."""
        return self.keeper().claims(name, *args)


# Dates and times: texts whose parts are at fixed places, as in "2015-12-16 15:16:17"


def _part(start: int, stop: int) -> Callable[[Any], Any]:
    """Return a transform that takes a part of a text."""

    def part(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(  # noqa: TRY004 - the one kind of error of values that an index can't take
                f"{shown(value)} is no text such as '2015-12-16 15:16:17', of which the index takes a part"
            )
        return value[start:stop]

    return part


def _number(name: str, start: int, stop: int) -> type[BaseIndex]:
    return NumberRangeIndex.configure(
        prefix=name, transform=_part(start, stop), handle_uniqueness=False, name=f"{name.title()}Index"
    )


class DateRangeIndex(TextRangeIndex):
    """Orders dates, given as ``YYYY-MM-DD`` and whatever follows."""

    key: ClassVar[str | None] = "date"
    transform: ClassVar[Callable[..., Any] | None] = _part(0, 10)


class TimeRangeIndex(TextRangeIndex):
    """Orders times, given as ``HH:MM:SS`` and whatever follows."""

    key: ClassVar[str | None] = "time"
    transform: ClassVar[Callable[..., Any] | None] = _part(0, 8)


DateIndexParts = MultiIndexes.compose(
    [_number("year", 0, 4), _number("month", 5, 7), _number("day", 8, 10)], name="DateIndexParts"
)
DateIndex = MultiIndexes.compose([DateRangeIndex, DateIndexParts], name="DateIndex")
TimeIndexParts = MultiIndexes.compose(
    [_number("hour", 0, 2), _number("minute", 3, 5), _number("second", 6, 8)], name="TimeIndexParts"
)
TimeIndex = MultiIndexes.compose([TimeRangeIndex, TimeIndexParts], name="TimeIndex")

_DATE = DateRangeIndex.configure(prefix="date", handle_uniqueness=False)
_TIME = TimeRangeIndex.configure(prefix="time", transform=_part(11, 19), handle_uniqueness=False)
_TIME_PARTS = MultiIndexes.compose([TimeIndexParts], transform=_part(11, 19), name="TimeIndexParts")

SimpleDateTimeIndex = MultiIndexes.compose(
    [TextRangeIndex.configure(key="full", transform=_part(0, 19), name="FullDateTimeIndex"), _DATE, _TIME],
    name="SimpleDateTimeIndex",
)
DateSimpleTimeIndex = MultiIndexes.compose([SimpleDateTimeIndex, DateIndexParts], name="DateSimpleTimeIndex")
DateTimeIndex = MultiIndexes.compose([DateSimpleTimeIndex, _TIME_PARTS], name="DateTimeIndex")


# Over several fields


class ScoredEqualIndex(Spanning):
    """Finds objects by a field's exact value, in the order of another field's, a number.

    A sorted set for each value: ``{name}:{field}[:sub-key][:prefix]:equal-scored:{value}``, of pks with the number as score.
    Objects without a number are not in it. The number is in a field of one value; the field itself may have many. Where it
    is unique, a set beside it keeps the pk in any case.

    Attributes:
        score_field: the name of the field with the number.
    """

    handled_suffixes: ClassVar[frozenset[str | None]] = frozenset({None, "eq", "in"})
    supported_key_types: ClassVar[frozenset[str]] = frozenset({"zset"})
    key: ClassVar[str | None] = "equal-scored"
    score_field: ClassVar[str | None] = None
    configurable_attrs: ClassVar[frozenset[str]] = BaseIndex.configurable_attrs | {"score_field"}

    @classmethod
    def configure(cls, **options: Any) -> type[BaseIndex]:
        """Return a subclass; as for other indexes, and with ``score_field``.

        Raises:
            TypeError: If no score field is given, here or before, or an option is unknown.
        """
        if not options.get("score_field", cls.score_field):
            raise TypeError(f"{cls.__name__}.configure needs score_field, the name of a field")
        return super().configure(**options)

    @classmethod
    def other_names(cls) -> tuple[str, ...]:
        """Return the name of the score field."""
        return (cls.score_field,) if cls.score_field else ()

    @classmethod
    def checked_model(cls, model: Any, field: RedisField) -> None:
        """Raise where a model doesn't have the score field, or it can hold more than one value."""
        super().checked_model(model, field)
        score: Any = model.get_class_field(cls.other_names()[0])
        if not score.single_value:
            raise ImplementationError(
                f"the {cls.__name__} of the field {field.name!r} of {model.__name__} takes its score from a field of one "
                f"value: {score.name!r} is a {type(score).__name__}"
            )

    def row_entries(self, name: str, pk: str, row: Row) -> set[Entry]:
        """Return the entry of the value, with the score; and the one that keeps a unique value."""
        value, score = row[self.field.name], _score(row[self.other_names()[0]])
        if value is None:
            return set()
        key = self.storage_key(name, *_arguments(value))
        kept = {Entry(make_key(key, "__uniqueness__"), pk)} if self.field.unique and self.handle_uniqueness else set()
        return kept if score is None else {*kept, Entry(key, pk, score)}

    def check_row(self, row: Row) -> None:
        """Raise an error if the score is not a number.

        Raises:
            ValueError: If the score is not a number.
        """
        (name,) = self.other_names()
        if row[name] is not None and _score(row[name]) is None:
            raise ValueError(
                f"{shown(row[name])} for the field {name!r} is no number: it is the score of {self.field.name!r}"
            )

    def claim(self, name: str, *args: Any) -> Claim:
        """Return how to tell that no other object has a value: the set that keeps unique values' pks."""
        return Claim(make_key(self.storage_key(name, *args), "__uniqueness__"), ("SMEMBERS",), args[-1])

    def source(self, name: str, suffix: str | None, value: Any, *subkeys: Any) -> Source:
        """Return the sorted set of a value, or of any of several."""
        if suffix != "in":
            return Whole(self.storage_key(name, *subkeys, value, transform_value=False), "zset")
        values = list(dict.fromkeys(value))
        return AnyOf(tuple(self.source(name, "eq", each, *subkeys) for each in values)) if values else Nothing()


def _arguments(value: Any) -> tuple[Any, ...]:
    """Return a value of a row as an index takes it: after its sub-key, where it has one."""
    return (value.subkey, value.value) if isinstance(value, AtSubkey) else (value,)


def _texts(index: BaseIndex, value: Any, *, transform: bool = True) -> list[str]:
    """Return a value of a row as it stands in a key: after its sub-key, where it has one."""
    *subkeys, last = _arguments(value)
    return [*(str(index.field.from_python(each)) for each in subkeys), index.normalize_value(last, transform=transform)]


def _score(value: Any) -> float | None:
    try:
        score = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(score) else score


class EqualIndexWith(Spanning):
    """Finds objects by the exact values of several fields together: filters on all of them are answered by one set.

    The sets are ``{name}:{field}[:prefix]:equal-with:{value}:{value of another field}...``. An object that lacks one of the
    values is in none; one that has several values in a field is in a set for each. Of a ``HashField``, ``{sub-key}:{value}``
    stands in the place of a value; such an index can't be unique.

    Attributes:
        other_fields: the names of the other fields.
        unique: whether two objects may not have all the values the same.
    """

    handled_suffixes: ClassVar[frozenset[str | None]] = frozenset({None, "eq", "in"})
    handle_uniqueness: ClassVar[bool] = False
    filter_single_field: ClassVar[bool] = False
    key: ClassVar[str | None] = "equal-with"
    other_fields: ClassVar[Sequence[str]] = ()
    unique: ClassVar[bool] = False
    configurable_attrs: ClassVar[frozenset[str]] = (BaseIndex.configurable_attrs | {"other_fields", "unique"}) - {
        "handle_uniqueness"
    }

    @classmethod
    def configure(cls, **options: Any) -> type[BaseIndex]:
        """Return a subclass; as for other indexes, and with ``other_fields`` (names, or one name) and ``unique``.

        Raises:
            TypeError: If no other fields are given, here or before, or an option is unknown.
        """
        given = options.get("other_fields", cls.other_fields)
        names = (given,) if isinstance(given, str) else tuple(given or ())
        if not names:
            raise TypeError(f"{cls.__name__}.configure needs other_fields, the names of fields")
        return super().configure(**options, **({} if "other_fields" in options else {"other_fields": names}))

    @classmethod
    def other_names(cls) -> tuple[str, ...]:
        """Return the names of the other fields."""
        return (cls.other_fields,) if isinstance(cls.other_fields, str) else tuple(cls.other_fields)

    @classmethod
    def checked_model(cls, model: Any, field: RedisField) -> None:
        """Raise where a model doesn't have the other fields, or they can't be unique together."""
        super().checked_model(model, field)
        for each in (field, *map(model.get_class_field, cls.other_names())):
            if cls.unique and each.has_subkeys:
                raise ImplementationError(
                    f"the {cls.__name__} of the field {field.name!r} of {model.__name__} can't be unique: {each.name!r} is a "
                    f"{type(each).__name__}, whose values belong to sub-keys"
                )

    def _key(self, name: str, values: Sequence[Any], *, transform: bool) -> str:
        own, *others = values
        fields = map(self.field._model.get_class_field, self.other_names())
        texts = _texts(self, own, transform=transform)
        for field, value in zip(fields, others, strict=True):
            texts += _texts(BaseIndex(field), value)
        return make_key(self.base_key(name), *texts)

    def row_entries(self, name: str, pk: str, row: Row) -> set[Entry]:
        """Return the one entry of all values; none where one is missing."""
        values = [row[each] for each in self.filtered_fields]
        return set() if None in values else {Entry(self._key(name, values, transform=True), pk)}

    def row_claims(self, name: str, row: Row) -> list[Claim]:
        """Return how to tell that no other object has all the values, where they are to be unique."""
        values = [row[each] for each in self.filtered_fields]
        if not self.unique or None in values:
            return []
        return [Claim(self._key(name, values, transform=True), ("SMEMBERS",), ", ".join(map(str, values)))]

    def joint_source(self, name: str, values: Mapping[str, tuple[Any, ...]]) -> Source:
        """Return the set of the values."""
        given = [values[field] for field in self.filtered_fields]
        row = [AtSubkey(rest[0], value) if rest else value for value, *rest in given]
        return Whole(self._key(name, row, transform=False))

    def source(self, name: str, suffix: str | None, value: Any, *subkeys: Any) -> Source:  # noqa: ARG002 - refused
        """Raise: one filter is not enough.

        Raises:
            ImplementationError: Always.
        """
        raise ImplementationError(
            f"the index of {self.field.name!r} answers filters on all of {', '.join(self.filtered_fields)} together"
        )
