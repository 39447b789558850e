"""Random programs: a model, and steps that use its objects."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from integration.parity.commands import arguments, creations
from integration.parity.comparison import Step
from integration.parity.random_models import SINGLE, Declared, Model, values_of

__all__ = ["SHAPES", "all_commands", "all_queries", "programs"]

WHO = st.integers(0, 3)
PKS = ("x", "y", "10", "7", "a:b")
DATE_PARTS = {"year": ["2015", "2016"], "month": ["12", "1", "2"], "day": ["16", "2"]}
TIME_PARTS = {"hour": ["15", "0"], "minute": ["16", "59"], "second": ["17", "59"]}
RANGES = ["gt", "gte", "lt", "lte"]
SHAPES = (
    "call",
    "filter",
    "filter_by_field",
    "intersect",
    "intersect_key",
    "sort",
    "sort_by_score",
    "instances",
    "primary_keys",
    "values",
    "values_list",
    "store",
    "from_stored",
)
"""What is done with a collection before it is asked for its items."""


# Filters


def _suffixes(name: str) -> dict[str, list[str]]:
    """Return what may follow the field's name for an index of a class, with the kind of the value."""
    text = ["", "eq", "in", *RANGES, "startswith"]
    date = {part: ["", *RANGES, "in"] for part in DATE_PARTS}
    time = {part: ["", *RANGES, "in"] for part in TIME_PARTS}
    own: dict[str, dict[str, list[str]]] = {
        "EqualIndex": {"": ["", "eq", "in"]},
        "TextRangeIndex": {"": text},
        "NumberRangeIndex": {"": ["", "eq", "in", *RANGES]},
        "DateRangeIndex": {"": text},
        "DateIndexParts": date,
        "DateIndex": {"": text, **date},
        "TimeRangeIndex": {"": text},
        "TimeIndexParts": time,
        "TimeIndex": {"": text, **time},
        "SimpleDateTimeIndex": {"": text, "date": text, "time": text},
        "DateSimpleTimeIndex": {"": text, "date": text, "time": text, **date},
        "DateTimeIndex": {"": text, "date": text, "time": text, **date, **time},
        "MultiIndexes": {"": text, "low": ["", "eq"]},
        "ScoredEqualIndex": {"": ["", "eq", "in"]},
        "EqualIndexWith": {"": ["", "eq"]},
    }
    return own[name]


def _looked_for(prefix: str, field: Declared) -> st.SearchStrategy[Any]:
    if prefix in DATE_PARTS | TIME_PARTS:
        return st.sampled_from((DATE_PARTS | TIME_PARTS)[prefix])
    cut = {"date": slice(0, 10), "time": slice(11, 19)}.get(prefix)
    if field.flavour == "moment":
        return values_of("moment").map(lambda value: value[cut or slice(0, 19)])
    return values_of(field.flavour)


@st.composite
def _filter(draw: st.DrawFn, field: Declared) -> dict[str, Any]:
    """Return one filter on a field; two for an index of two fields."""
    index = draw(st.sampled_from(field.indexes)) if field.indexes else None
    name = index.name if index else "EqualIndex"
    prefix, suffixes = draw(st.sampled_from(sorted(_suffixes(name).items())))
    suffix = draw(st.sampled_from(suffixes))
    parts = [field.name]
    if field.kind == "HashField":
        parts.append(draw(st.sampled_from("kl")))
    parts += [part for part in ((index.prefix or "") if index else "", prefix, suffix) if part]
    value = draw(_looked_for(prefix, field))
    if suffix == "in":
        value = draw(st.lists(_looked_for(prefix, field), max_size=3))
    elif suffix == "startswith":
        value = str(value)[:2]
    found = {"__".join(parts): value}
    if index and name == "EqualIndexWith":
        found["w"] = draw(values_of("text"))
    return found


@st.composite
def _filters(draw: st.DrawFn, model: Model) -> dict[str, Any]:
    fields = [field for field in model.fields if field.indexes is not None]
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0, 2)) if fields else 0):
        found |= draw(_filter(draw(st.sampled_from(fields))))
    if draw(st.integers(0, 9)) == 0:
        found["pk"] = draw(st.sampled_from(["1", "2", *PKS]))
    return found


# Collections


@st.composite
def _shape(draw: st.DrawFn, model: Model, what: str | None = None) -> tuple[Any, ...]:
    single = [field for field in model.fields if field.kind in SINGLE]
    names = st.lists(
        st.sampled_from(["pk", "sorted_score", *(field.name for field in single)]), min_size=1, max_size=2, unique=True
    )
    what = what or draw(st.sampled_from(SHAPES))
    if what in ("call", "filter"):
        return what, draw(_filters(model))
    if what == "filter_by_field":
        able = [field for field in single if field.indexes is not None and field.index_names & {"EqualIndex"}]
        field = draw(st.sampled_from(able)) if able else None
        if field is None or any(index.prefix for index in field.indexes or ()):
            return "primary_keys", (), {}
        return what, draw(WHO), field.name
    if what == "intersect":
        return what, draw(st.sets(st.integers(0, 3), min_size=1))
    if what in ("intersect_key", "store", "from_stored"):
        return (what,)
    if what == "sort":
        by = draw(st.sampled_from([None, "pk", "-pk", *(field.name for field in single)]))
        options = {"alpha": True} if by else {}
        return what, (), ({"by": by} if by else {}) | options | draw(st.sampled_from([{}, {"desc": True}]))
    if what == "sort_by_score":
        scored = [field for field in model.fields if field.kind == "SortedSetField"]
        if not scored:
            return "primary_keys", (), {}
        return what, draw(WHO), draw(st.sampled_from(scored)).name, draw(st.sampled_from([{}, {"desc": True}]))
    if what == "values":
        return what, tuple(draw(names)), {}
    if what == "values_list":
        chosen = draw(names)
        return what, tuple(chosen), {"flat": True} if len(chosen) == 1 else {}
    return what, (), {}


LASTS = st.one_of(
    st.just(("list",)),
    st.just(("list",)),
    st.just(("len",)),
    st.just(("bool",)),
    st.tuples(st.just("in"), st.sampled_from(["1", "x"])),
    st.tuples(st.just("item"), st.integers(-3, 3)),
    st.tuples(st.just("slice"), st.sampled_from([None, 0, 1, 2]), st.sampled_from([None, 1, 3])),
    st.tuples(st.just("slice"), st.integers(-3, 3), st.integers(-3, 3)),
)


@st.composite
def _collect(draw: st.DrawFn, model: Model) -> Step:
    shape = draw(st.lists(_shape(model), max_size=2))
    return "collect", draw(_filters(model)), tuple(shape), draw(LASTS)


# Steps


@st.composite
def _create(draw: st.DrawFn, model: Model) -> Step:
    values = {
        field.name: draw(creations(field.kind, values_of(field.flavour)))
        for field in model.fields
        if draw(st.integers(0, 3))
    }
    if not model.auto:
        values["code"] = draw(st.sampled_from(PKS))
    return "create", values


@st.composite
def _field(draw: st.DrawFn, model: Model) -> Step:
    field = draw(st.sampled_from(model.fields))
    table = arguments(field.kind, values_of(field.flavour))
    command = draw(st.sampled_from(sorted(table)))
    return "field", draw(WHO), field.name, command, draw(table[command])


@st.composite
def _object(draw: st.DrawFn, model: Model, command: str | None = None) -> Step:
    fields = [field for field in model.fields if field.kind == "InstanceHashField"]
    on_hash = ["hmget", "hmset", "hdel"] if fields else []
    command = command or draw(st.sampled_from(["hgetall", "hkeys", "hvals", "hlen", *on_hash]))
    if command in ("hmget", "hdel"):
        chosen = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=2, unique_by=lambda field: field.name))
        return "object", draw(WHO), command, tuple(field.name for field in chosen)
    if command == "hmset":
        chosen = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=2, unique_by=lambda field: field.name))
        return "object", draw(WHO), command, {field.name: draw(values_of(field.flavour)) for field in chosen}
    return "object", draw(WHO), command, ()


@st.composite
def _pk(draw: st.DrawFn, model: Model) -> Step:
    table = arguments("AutoPKField" if model.auto else "PKField", values_of("text"))
    command = draw(st.sampled_from(["get", "set", "exists", "delete", "proxy_get"]))
    return "pk", draw(WHO), command, draw(table[command])


@st.composite
def _query(draw: st.DrawFn, model: Model) -> Step:
    what = draw(st.sampled_from(["get", "exists"]))
    return what, draw(_filters(model))


@st.composite
def _pipeline(draw: st.DrawFn, model: Model) -> Step:
    """Return commands of fields without indexes: those with are garbage in limpyd's pipelines (P19)."""
    plain = [field for field in model.fields if field.indexes is None and field.name != "w"]
    if not plain:
        return "from_pks", ["1", "2", "x"]
    calls = []
    for _ in range(draw(st.integers(1, 3))):
        field = draw(st.sampled_from(plain))
        table = arguments(field.kind, values_of(field.flavour))
        chosen = draw(
            st.sampled_from(
                {
                    "StringField": ["get", "set", "append"],
                    "InstanceHashField": ["hget", "hset"],
                    "HashField": ["hget", "hset", "hlen"],
                    "SetField": ["sadd", "scard"],
                    "ListField": ["rpush", "llen"],
                    "SortedSetField": ["zadd", "zcard"],
                }[field.kind]
            )
        )
        calls.append((draw(WHO), field.name, chosen, draw(table[chosen])))
    return "pipeline", calls


@st.composite
def _maintain(draw: st.DrawFn, model: Model) -> Step:
    fields = [field for field in model.fields if field.indexes is not None]
    if not fields:
        return "forget", draw(WHO)
    kinds = ["rebuild", "rebuild aggressively", "clear index and rebuild", "index again"]
    return "maintain", draw(st.sampled_from(fields)).name, draw(st.sampled_from(kinds))


def steps(model: Model) -> st.SearchStrategy[Step]:
    """Return any step on objects of a model."""
    return st.one_of(
        _create(model),
        _field(model),
        _field(model),
        _field(model),
        _object(model),
        _pk(model),
        _query(model),
        _collect(model),
        _collect(model),
        _pipeline(model),
        _maintain(model),
        st.tuples(st.just("delete"), WHO),
        st.tuples(st.just("forget"), WHO),
        st.just(("all_pks",)),
        st.tuples(st.just("fresh"), st.just(None) if model.auto else st.sampled_from(PKS)),
        st.tuples(st.just("from_pks"), st.lists(st.sampled_from(["1", "2", "9", "x"]), max_size=3)),
    )


@st.composite
def programs(draw: st.DrawFn, models: st.SearchStrategy[Model], size: int = 20) -> tuple[Model, list[Step]]:
    """Return a model, and steps: at first two objects are made."""
    model = draw(models)
    first = [draw(_create(model)), draw(_create(model))]
    return model, [*first, *draw(st.lists(steps(model), min_size=size // 4, max_size=size))]


@st.composite
def all_commands(draw: st.DrawFn, models: st.SearchStrategy[Model], names: list[str]) -> tuple[Model, list[Step]]:
    """Return a model, and steps among which is each of some commands of its first field."""
    model = draw(models)
    field = model.fields[0]
    table = arguments(field.kind, values_of(field.flavour))
    wanted: list[Step] = []
    for name in draw(st.permutations(names)):
        wanted.append(("field", draw(WHO), field.name, name, draw(table[name])))
        if draw(st.integers(0, 2)) == 0:
            wanted.append(draw(st.one_of(_create(model), _collect(model))))
    return model, [draw(_create(model)), draw(_create(model)), *wanted]


@st.composite
def all_queries(draw: st.DrawFn, models: st.SearchStrategy[Model], names: list[str]) -> tuple[Model, list[Step]]:
    """Return a model, and steps among which is each shape of a collection, and each of some commands of an object."""
    model = draw(models)
    wanted: list[Step] = [("fresh", None if model.auto else "x"), ("all_pks",), ("forget", 0)]
    for what in draw(st.permutations(SHAPES)):
        wanted.append(("collect", draw(_filters(model)), (draw(_shape(model, what)),), draw(LASTS)))
        if draw(st.booleans()):
            wanted.append(draw(steps(model)))
    wanted += [draw(_object(model, name)) for name in draw(st.permutations(names))]
    wanted += [draw(_query(model)), draw(_pk(model)), draw(_maintain(model)), draw(_pipeline(model)), ("delete", 1)]
    return model, [draw(_create(model)), draw(_create(model)), *wanted]
