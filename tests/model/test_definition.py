"""Definitions of model classes that are accepted or refused."""

from __future__ import annotations

import gc

import pytest

from tenantlimpyd import fields, indexes, model
from tenantlimpyd.exceptions import ImplementationError
from tests.support.models import define


def test_model_name_is_made_of_namespace_and_class_name(host):
    assert define(host)._name == ":thing"
    assert define(host, "Empty", namespace="")._name == ":empty"
    assert define(host, "CamelCase", namespace="Sales:EU")._name == "Sales:EU:camelcase"
    base = define(host, "Base", namespace="inherited", abstract=True)
    assert define(host, "Child", (base,))._name == "inherited:child"
    assert define(host, "Other", (base,), namespace="own")._name == "own:other"


def test_model_needs_a_database():
    for body in ({}, {"database": None}, {"database": "redis://"}):
        with pytest.raises(ImplementationError, match="needs a database"):
            model.MetaRedisModel("Homeless", (model.RedisModel,), body)
    assert model.MetaRedisModel("Base", (model.RedisModel,), {"abstract": True}).abstract


def test_abstract_is_not_inherited_and_registers_no_model(host):
    base = define(host, "Base", abstract=True, name=fields.StringField(indexable=True))
    assert host._models == {}
    child = define(host, "Child", (base,))
    assert (base.abstract, child.abstract) == (True, False)
    assert host._models == {":child": child}
    assert child._fields == ["pk", "name"]
    assert child.get_field("name") is not base.get_field("name")


def test_second_model_of_the_same_name_in_a_database_is_refused(host):
    define(host, "Foo")
    for name in ("Foo", "FOO", "foo"):
        with pytest.raises(ImplementationError, match="':foo'"):
            define(host, name, field=fields.StringField())
    assert define(host, "Foo", namespace="other")._name == "other:foo"
    assert define(type(host)(), "FOO")._name == ":foo"


def test_class_statement_that_runs_again_returns_the_first_class(host):
    def module():
        class Person(model.RedisModel):
            database = host
            limit = 10
            name = fields.StringField(unique=True)
            short = fields.StringField(
                indexes=[indexes.EqualIndex.configure(transform=lambda v: v[:2])], indexable=True
            )

            def shown(self):
                return self.limit

            @property
            def double(self):
                return self.limit * 2

        return Person

    first = module()
    assert module() is first
    assert host._models == {":person": first}


def test_class_statement_with_super_that_runs_again_replaces_the_first_class(host):
    def module():
        class Person(model.RedisModel):
            database = host

            def post_command(self, *args):
                return super().post_command(*args)

        return Person

    first, second = module(), module()
    assert host._models == {":person": second}
    target = type(host)()
    assert second.use_database(target) == [second]
    assert target._models == {":person": second}
    assert first.__name__ == second.__name__


@pytest.mark.parametrize(
    "what", ["a field", "an option", "a default", "a method", "a constant", "a closure", "a transform", "a base"]
)
def test_class_statement_that_defines_another_model_when_run_again_is_refused(host, what):
    """limpyd silently returns the first one."""

    def make(varied):
        class Base(model.RedisModel):
            database = host
            abstract = True

        class Other(Base):
            abstract = True

        def bound(value):
            return (value, varied)

        class Person(Other if what == "a base" and varied else Base):
            limit = varied if what == "a constant" else 0
            name = fields.StringField(
                indexable=what == "an option" and varied, default="x" if what == "a default" and varied else "y"
            )
            if what == "a field" and varied:
                extra = fields.StringField()
            if what == "a transform":
                short = fields.StringField(indexable=True, indexes=[indexes.EqualIndex.configure(transform=bound)])
            if what == "a closure":

                def method(self):
                    return varied

            elif what == "a method" and varied:

                def method(self):
                    return 1

            else:

                def method(self):
                    return 2

        return Person

    first = make(False)
    assert make(False) is first
    with pytest.raises(ImplementationError, match="has that name"):
        make(True)
    assert host._models == {":person": first}


def test_refused_class_is_not_registered(host):
    gc.disable()  # so that Python still knows the refused classes
    try:
        base = define(host, "Base", abstract=True)
        first = define(host, "First", (base,))
        for body in (
            {"a": fields.PKField(), "b": fields.PKField()},
            {
                "a": fields.StringField(
                    indexable=True, indexes=[indexes.EqualIndex.configure(handle_uniqueness=False)], unique=True
                )
            },
            {"hash": fields.StringField()},
        ):
            with pytest.raises(ImplementationError):
                define(host, "Wrong", (base,), **body)
        with pytest.raises(ImplementationError):
            define(host, "FIRST", (base,))
        assert host._models == {":first": first}
        target = type(host)()
        assert base.use_database(target) == [base, first]
        assert target._models == {":first": first}
    finally:
        gc.enable()
