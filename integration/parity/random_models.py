"""Declarations of random models as plain data, and their models in either library."""

from __future__ import annotations

import inspect
from typing import Any

import attrs
from hypothesis import strategies as st

from integration.parity.libraries import LIMPYD, OURS, Library

__all__ = [
    "INDEXES",
    "KINDS",
    "Declared",
    "Indexed",
    "Model",
    "classes_of_fields",
    "declared_with",
    "models",
    "values_of",
]

SINGLE = ("StringField", "InstanceHashField")
KINDS = (*SINGLE, "HashField", "SetField", "ListField", "SortedSetField")
TRANSFORMS: dict[str, Any] = {"lower": lambda value: str(value).lower(), "back": lambda self, value: str(value)[::-1]}

FLAVOURS: dict[str, list[Any]] = {
    "text": ["a", "b", "ab", "B", "", "é", "a:b", "a b", "10"],
    "number": ["1", "2", "10", "-1.5", 5, 2.5, "3"],
    "date": ["2015-12-16", "2015-01-02", "2016-02-03"],
    "time": ["15:16:17", "00:00:00", "23:59:59"],
    "moment": ["2015-12-16 15:16:17", "2015-12-16 00:00:00", "2016-02-03 15:16:17.123456"],
}
OF_INDEX = {
    "NumberRangeIndex": "number",
    "DateRangeIndex": "date",
    "DateIndexParts": "date",
    "DateIndex": "date",
    "TimeRangeIndex": "time",
    "TimeIndexParts": "time",
    "TimeIndex": "time",
    "SimpleDateTimeIndex": "moment",
    "DateSimpleTimeIndex": "moment",
    "DateTimeIndex": "moment",
}
NUMBERS = {"NumberRangeIndex", *(name for name in OF_INDEX if "Parts" in name), "DateIndex", "TimeIndex"}
NUMBERS |= {"DateSimpleTimeIndex", "DateTimeIndex"}
"""Indexes that are, or are composed of, number ranges."""
SPANNING = ("ScoredEqualIndex", "EqualIndexWith")


def _index_classes(library: Library) -> set[str]:
    """Return the names of the index classes that a library means for users."""
    found = {**vars(library.indexes), **vars(library.more_indexes)}
    return {
        name
        for name, value in found.items()
        if inspect.isclass(value)
        and issubclass(value, library.indexes.BaseIndex)
        and not name.startswith(("_", "Base"))
        and (library is LIMPYD or name in {*library.indexes.__all__, *library.more_indexes.__all__})
    }


def classes_of_fields(library: Library) -> dict[str, Any]:
    """Return the field classes that a library means for users, by name."""
    base = library.fields.RedisField
    found = {
        name: each for name, each in vars(library.fields).items() if inspect.isclass(each) and issubclass(each, base)
    }
    abstract = {"RedisField", "SingleValueField", "MultiValuesField"}
    return {name: each for name, each in found.items() if name not in abstract}


INDEXES = sorted(_index_classes(LIMPYD) | _index_classes(OURS))
"""The names of all index classes of either library."""


@attrs.frozen
class Indexed:
    """An index of a field: the name of its class, and how it is configured."""

    name: str
    prefix: str | None = None
    key: str | None = None
    transform: str | None = None
    others: tuple[str, ...] = ()
    unique: bool = False
    parts: tuple[Indexed, ...] = ()

    def made_by(self, library: Library) -> Any:
        """Return the class; a new one each time, since limpyd's can't be used twice (P40)."""
        cls = library.index_class(self.name)
        options: dict[str, Any] = {}
        if self.key:
            options["key"] = self.key
        if self.transform:
            options["transform"] = TRANSFORMS[self.transform]
        if self.name == "MultiIndexes":
            return cls.compose([part.made_by(library) for part in self.parts], **options)
        if self.prefix:
            options["prefix"] = self.prefix
        if self.name == "ScoredEqualIndex":
            options["score_field"] = self.others[0]
        if self.name == "EqualIndexWith":
            options |= {"other_fields": list(self.others), "unique": self.unique}
        return cls.configure(**options) if options else cls

    @property
    def names(self) -> set[str]:
        """The name of its class, and of those it is composed of."""
        return {self.name}.union(*(part.names for part in self.parts))


@attrs.frozen
class Declared:
    """A field: its class, what it is indexed by (None: nothing; empty: the default), and its other options."""

    name: str
    kind: str
    indexes: tuple[Indexed, ...] | None = None
    unique: bool = False
    default: Any = None
    flavour: str = "text"

    def made_by(self, library: Library) -> Any:
        """Return the field."""
        options: dict[str, Any] = {}
        if self.indexes is not None:
            options |= {"unique": True} if self.unique else {"indexable": True}
            if self.indexes:
                options["indexes"] = [index.made_by(library) for index in self.indexes]
        if self.default is not None:
            options["default"] = self.default
        return getattr(library.fields, self.kind)(**options)

    @property
    def index_names(self) -> set[str]:
        """The names of all its index classes."""
        if self.indexes is None:
            return set()
        return set().union(*(index.names for index in self.indexes)) or {"EqualIndex"}

    @property
    def tags(self) -> set[str]:
        """What differences are told by."""
        marks = {"indexed" if self.indexes is not None else "plain", self.kind}
        marks |= {"unique"} if self.unique else set()
        marks |= {"many"} if self.kind in ("SetField", "ListField", "SortedSetField") else set()
        marks |= {f"with:{index.transform}" for index in self.indexes or () if index.transform}
        marks |= {"number"} if self.index_names & NUMBERS else set()
        return marks | self.index_names


@attrs.frozen
class Model:
    """A model: its fields, and whether pks are allocated."""

    fields: tuple[Declared, ...]
    auto: bool = True

    def made_by(self, library: Library, database: Any) -> Any:
        """Return the model class, on a database object that is new."""
        body: dict[str, Any] = {
            "database": database,
            "namespace": "random",
            "collection_manager": library.collections.ExtendedCollectionManager,
        }
        if not self.auto:
            body["code"] = library.fields.PKField()
        body |= {field.name: field.made_by(library) for field in self.fields}
        return type(library.model.RedisModel)("Thing", (library.model.RedisModel,), body)

    def field(self, name: str) -> Declared:
        """Return a field by its name."""
        return next(field for field in self.fields if field.name == name)


# Random ones


def values_of(flavour: str) -> st.SearchStrategy[Any]:
    """Return values of a kind."""
    return st.sampled_from(FLAVOURS[flavour])


@st.composite
def _simple_index(draw: st.DrawFn, name: str, number: int) -> Indexed:
    if name == "MultiIndexes":
        parts = (
            Indexed("EqualIndex"),
            Indexed("TextRangeIndex"),
            Indexed("EqualIndex", prefix="low", transform="lower"),
        )
        return Indexed(name, key=draw(st.sampled_from([None, "multi"])), parts=parts)
    configurable = name in ("EqualIndex", "TextRangeIndex", "NumberRangeIndex")
    prefix = draw(st.sampled_from([None, "pre"])) if configurable and number else None
    key = draw(st.sampled_from([None, "own"])) if configurable else None
    transform = (
        draw(st.sampled_from([None, *TRANSFORMS])) if name in ("EqualIndex", "TextRangeIndex") and prefix else None
    )
    return Indexed(name, prefix, key, transform)


@st.composite
def _field(draw: st.DrawFn, name: str, kind: str, index: str | None) -> Declared:
    if index is None:
        if not draw(st.booleans()):
            default = draw(st.sampled_from([None, "a"])) if kind in SINGLE else None
            return Declared(name, kind, default=default)
        index = draw(st.sampled_from(["EqualIndex", "EqualIndex", "TextRangeIndex", "NumberRangeIndex"]))
    flavour = OF_INDEX.get(index, "text")
    first = draw(_simple_index(index, 0))
    more = []
    if flavour == "text" and draw(st.booleans()):
        more = [draw(_simple_index(draw(st.sampled_from(["EqualIndex", "TextRangeIndex"])), 1))]
        more = [] if more[0].prefix is None else more
    able = kind != "HashField" and index not in {"DateIndexParts", "TimeIndexParts"}
    return Declared(name, kind, (first, *more), unique=able and draw(st.integers(0, 3)) == 0, flavour=flavour)


@st.composite
def declared_with(
    draw: st.DrawFn, kind: str | None = None, index: str | None = None, auto: bool | None = None
) -> Model:
    """Return models whose field ``f`` is of a class, and indexed by a class; any where they are not given."""
    auto = draw(st.integers(0, 4)) > 0 if auto is None else auto
    kind = kind or draw(st.sampled_from(KINDS))
    others = [draw(_field(name, draw(st.sampled_from(KINDS)), None)) for name in "gh"[: draw(st.integers(0, 2))]]
    if index in SPANNING:
        with_number = index == "ScoredEqualIndex"
        other = Declared(
            "w", draw(st.sampled_from(SINGLE if with_number else KINDS)), flavour="number" if with_number else "text"
        )
        unique = draw(st.booleans()) and "HashField" not in (kind, other.kind)
        own = Indexed(index, others=("w",), unique=unique and not with_number)
        field = Declared("f", kind, (own,), unique=unique and with_number)
        return Model((field, other, *others), auto=auto)
    return Model((draw(_field("f", kind, index)), *others), auto=auto)


models = declared_with()
