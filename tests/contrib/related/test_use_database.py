"""Relations move with the models that own them."""

from __future__ import annotations

import pytest

from tenantlimpyd.contrib.related import FKStringField
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.router import DatabaseRouter
from tests.contrib.related.related_models import make_models
from tests.contrib.related.test_definition import related

pytestmark = pytest.mark.slow


@pytest.fixture(params=[RedisDatabase, DatabaseRouter])
def other(request):
    return request.param()


def names(host, model):
    return [each.related_name for each in host._relations_to(model)]


@pytest.mark.pitfall(23)
def test_targets_and_owners_move_in_any_order(host, other):
    m = make_models(host)
    m.Person.use_database(other)  # owns one relation to itself
    assert names(other, m.Person) == ["reports"]
    with pytest.raises(ImplementationError, match="both sides of a relation are hosted by"):
        _ = m.Book.get_field("writer").related_model
    m.Book.use_database(other)
    assert names(other, m.Person) == ["reports", "written", "edited", "read", "queued", "rated"]
    assert names(host, m.Person) == []
    assert m.Book.get_field("writer").related_model is m.Person


@pytest.mark.pitfall(23)
def test_model_without_related_fields_moves_alone(host, other):
    m = make_models(host)
    alone = related(host, "Alone")
    assert alone.use_database(other) == [alone]
    assert names(host, m.Person) == ["reports", "written", "edited", "read", "queued", "rated"]


def test_moving_a_base_moves_both_sides_of_a_relation(host, other):
    m = make_models(host)
    moved = m.Person.__mro__[1].use_database(other)
    assert {model.__name__ for model in moved} == {"Base", "Person", "Book"}
    assert len(names(other, m.Person)) == 6
    assert not host._models


def test_related_name_used_in_the_new_database_moves_no_model(host, other):
    here = make_models(host)
    there = related(other, "Person", "lib")
    related(other, "Other", "lib", link=FKStringField(there, related_name="edited"))
    with pytest.raises(ImplementationError, match=r"'edited' .* is taken"):
        here.Book.use_database(other)
    assert here.Book.database is host
    assert names(host, here.Person) == ["reports", "written", "edited", "read", "queued", "rated"]
    assert names(other, there) == ["edited"]


def test_attribute_of_the_target_in_the_new_database_moves_no_model(host, other):
    target = related(host, "Target", edited=lambda _: None)
    related(other, "Owner", link=FKStringField("Target", related_name="edited"))
    with pytest.raises(ImplementationError, match="Target has that attribute"):
        target.use_database(other)
    assert target.database is host


@pytest.mark.pitfall(55)
def test_diamond_of_base_classes_moves_each_relation_once(host, other):
    target = related(host, "Target")
    top = related(host, "Top", link=FKStringField("Target", related_name="%(model)s_links"))
    left = related(host, "Left", bases=(top,))
    right = related(host, "Right", bases=(top,))
    bottom = related(host, "Bottom", bases=(left, right))
    assert set(top.use_database(other)) == {top, left, right, bottom}
    target.use_database(other)
    assert sorted(names(other, target)) == ["bottom_links", "left_links", "right_links", "top_links"]


def test_models_can_move_back(host, other):
    m = make_models(host)
    for there, back in [(other, host), (host, other)] * 2:
        m.Book.use_database(there)
        m.Person.use_database(there)
        assert len(names(there, m.Person)) == 6
        assert names(back, m.Person) == []


async def test_existing_objects_keep_their_relations_after_a_move(flushed_server, database):
    m = make_models(database)
    ann = m.Person(name="ann")
    m.Book(writer=ann)
    elsewhere = RedisDatabase(**flushed_server.settings, db=5)
    m.Person.use_database(elsewhere)
    with pytest.raises(AttributeError):
        _ = ann.written
    m.Book.use_database(elsewhere)
    assert list(ann.written()) == ["1"]
    new = m.Person(name="new")
    assert list(new.written()) == []
    with pytest.raises(ImplementationError, match="in another database"):
        m.Book(writer=ann)
    elsewhere.close()
