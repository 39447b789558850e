"""Fields in the bodies of models and their bases."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields, indexes, model
from tenantlimpyd._registry.host import ModelHost
from tenantlimpyd.exceptions import ImplementationError
from tests.support.models import define


def test_fields_follow_the_pk_in_the_order_of_declaration(host):
    class Thing(model.RedisModel):
        database = host
        zebra = fields.StringField()
        ident = fields.AutoPKField()
        apple = fields.InstanceHashField()
        _private = fields.StringField()

    assert Thing._fields == ["ident", "zebra", "apple"]
    assert Thing._instancehash_fields == ["apple"]
    assert [each.name for each in Thing.get_fields()] == Thing._fields
    assert Thing.has_field("pk")
    assert Thing.has_field("ident")
    assert not Thing.has_field("_private")
    assert Thing.get_field("pk") is Thing.get_field("ident") is Thing._redis_attr_ident is Thing._redis_attr_pk
    with pytest.raises(AttributeError, match="no field 'nothing'"):
        Thing.get_field("nothing")
    for name in ("zebra", "pk", "ident"):
        with pytest.raises(AttributeError, match="get_field"):
            getattr(Thing, name)


def test_each_object_has_its_own_fields(database):
    hosted_by = database

    class Thing(model.RedisModel):
        database = hosted_by
        ident = fields.AutoPKField()
        name = fields.StringField()

    one, two = Thing(name="a"), Thing(name="b")
    assert one.pk is one.ident is one.get_field("pk") is one.get_field("ident")
    assert one.name is one.get_instance_field("name")
    assert one.name is not two.name
    assert one.name.attached_to_instance
    assert not one.name.attached_to_model
    assert Thing.get_field("name").attached_to_model
    assert [each.name for each in one.fields] == ["ident", "name"]
    assert one.fields == list(one.get_fields())
    assert list(Thing.get_fields()) == [Thing.get_field("ident"), Thing.get_field("name")]
    assert Thing._redis_attr_name is one._redis_attr_name is Thing.get_class_field("name")
    for name in ("name", "pk", "ident"):
        with pytest.raises(AttributeError, match="can't be assigned"):
            setattr(one, name, "x")
    assert one.name.get() == "a"


def test_redeclared_field_replaces_the_first(host):
    base = define(host, "Base", abstract=True, a=fields.StringField(), b=fields.StringField())
    child = define(host, "Child", (base,), a=fields.InstanceHashField(indexable=True))
    assert child._fields == ["pk", "b", "a"]
    assert isinstance(child.get_field("a"), fields.InstanceHashField)
    assert isinstance(base.get_field("a"), fields.StringField)
    assert child._instancehash_fields == ["a"]


def test_none_removes_an_inherited_field(host):
    base = define(host, "Base", abstract=True, a=fields.StringField(), b=fields.StringField())
    child = define(host, "Child", (base,), a=None)
    grandchild = define(host, "Grandchild", (child,))
    assert child._fields == grandchild._fields == ["pk", "b"]
    assert define(host, "Again", (grandchild,), a=fields.StringField())._fields == ["pk", "b", "a"]
    assert base._fields == ["pk", "a", "b"]


def test_fields_of_several_bases_and_plain_mixins_are_inherited(host):
    class Mixin:
        mixed = fields.StringField(default="x")

        def greet(self):
            return "hello"

    left = define(host, "Left", abstract=True, one=fields.StringField())
    right = define(host, "Right", abstract=True, two=fields.InstanceHashField())
    both = define(host, "Both", (left, right, Mixin), own=fields.StringField())
    assert sorted(both._fields) == ["mixed", "one", "own", "pk", "two"]
    assert both._fields[0] == "pk"
    assert both._fields[-1] == "own"
    assert both._instancehash_fields == ["two"]
    assert both.get_field("mixed").default == "x"
    assert define(host, "Second", (Mixin, left)).get_field("mixed") is not both.get_field("mixed")


def test_field_of_the_nearer_base_wins(host):
    root = define(host, "Root", abstract=True, x=fields.StringField(), y=fields.StringField(default="root"))
    left = define(host, "Left", (root,), abstract=True)
    right = define(
        host, "Right", (root,), abstract=True, x=fields.InstanceHashField(), y=fields.StringField(default="r")
    )
    for number, bases in enumerate([(left, right), (right, left)]):
        diamond = define(host, f"Diamond{number}", bases)
        assert isinstance(diamond.get_field("x"), fields.InstanceHashField), bases
        assert diamond.get_field("y").default == "r"
        assert sorted(diamond._fields) == ["pk", "x", "y"]


def test_declared_pk_wins_over_a_base_without_one(host):
    with_pk = define(host, "WithPk", abstract=True, pk=fields.PKField())
    with_code = define(host, "WithCode", abstract=True, code=fields.PKField())
    without = define(host, "Without", abstract=True, name=fields.StringField())
    for number, bases in enumerate([(with_pk, without), (without, with_pk)]):
        made = define(host, f"Made{number}", bases)
        assert (made._fields, made.get_field("pk").auto) == (["pk", "name"], False)
    for number, bases in enumerate([(with_code, without), (without, with_code)]):
        made = define(host, f"Coded{number}", bases)
        assert (made._fields, made.get_field("pk").name) == (["code", "name"], "code")
    with pytest.raises(ImplementationError, match="more than one primary key"):
        define(host, "Two", (with_pk, with_code))
    with pytest.raises(ImplementationError, match="more than one primary key"):
        define(host, "Three", (with_code,), other=fields.AutoPKField())
    assert define(host, "Redeclared", (with_code,), code=fields.AutoPKField()).get_field("pk").auto


def test_field_object_used_in_two_models_is_copied(host):
    shared = fields.StringField(indexable=True)
    one, two = define(host, "One", name=shared), define(host, "Two", title=shared)
    assert (one.get_field("name").name, two.get_field("title").name) == ("name", "title")


@pytest.mark.parametrize(
    "name",
    ["hash", "a__b", "key", "fields", "connected", "connection", "collection", "database", "get", "exists", "delete",
     "adelete", "hmget", "post_command", "scan_keys", "namespace", "abstract", "lockable", "has_pk", "created_here"],
)  # fmt: skip
def test_reserved_names_are_refused(host, name):
    class Mixin:
        pass

    setattr(Mixin, name, fields.StringField())
    with pytest.raises(ImplementationError, match=f"'{name}'"):
        define(host, **{name: fields.StringField()})
    if name not in ("database", "abstract", "namespace"):
        with pytest.raises(ImplementationError, match=f"'{name}'"):
            define(host, "Mixed", (model.RedisModel, Mixin))


def test_pk_is_reserved_for_a_primary_key_field(host):
    with pytest.raises(ImplementationError, match="primary key's name"):
        define(host, pk=fields.StringField())


@pytest.mark.parametrize(
    "name", ["storage", "change", "remember", "create", "seen", "placement", "placed", "value", "set"]
)
def test_names_that_applications_use_are_allowed(host, name):
    assert define(host, **{name: fields.StringField()})._fields == ["pk", name]


def test_other_attribute_under_the_name_of_a_field_is_refused(host):
    base = define(host, "Base", abstract=True, name=fields.StringField())

    class Mixin:
        def name(self):
            return "x"

    with pytest.raises(ImplementationError, match="hides the field 'name'"):
        define(host, "Child", (base,), name=lambda self: "x")
    with pytest.raises(ImplementationError, match="hides the field 'name'"):
        define(host, "Child", (Mixin, base))


def test_contradictory_field_options_are_refused():
    for options in (
        {"unique": True, "default": "x"},
        {"unique": True, "default": None},
        {"indexes": [indexes.EqualIndex]},
    ):
        with pytest.raises(ImplementationError):
            fields.StringField(**options)
    for options in ({"indexeable": True}, {"defaut": 0}):
        with pytest.raises(TypeError):
            fields.StringField(**options)
    with pytest.raises(TypeError):
        fields.StringField(True)
    assert fields.InstanceHashField(unique=True).indexable


def test_default_indexes_are_those_of_the_field_the_model_or_the_database(host):
    first, second, third = (indexes.EqualIndex.configure(key=key) for key in ("first", "second", "third"))

    class OwnField(fields.StringField):
        default_indexes = [first]  # noqa: RUF012 - as applications write it

    class Host(type(host)):
        default_indexes = [third]  # noqa: RUF012 - as applications write it

    bound = Host()
    of_model = define(
        bound, "OfModel", default_indexes=[second], a=OwnField(indexable=True), b=fields.StringField(unique=True)
    )
    of_host = define(bound, "OfHost", b=fields.StringField(indexable=True))
    assert of_model.get_field("a").index_classes == [first]
    assert of_model.get_field("b").index_classes == [second]
    assert of_host.get_field("b").index_classes == [third]
    assert ModelHost.get_default_indexes() == [indexes.EqualIndex]
    with pytest.raises(ImplementationError, match="no index is given"):
        define(host, default_indexes=[], b=fields.StringField(indexable=True))
