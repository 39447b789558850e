"""Declarations of related fields: the target, the related name, and the registration."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.contrib.indexes import DateIndex, EqualIndexWith
from tenantlimpyd.contrib.related import (
    FKInstanceHashField,
    FKStringField,
    M2MListField,
    M2MSetField,
    M2MSortedSetField,
    MultiValuesRelatedFieldMixin,
    RelatedCollection,
    RelatedFieldMixin,
    RelatedModel,
    SimpleValueRelatedFieldMixin,
    re_identifier,
)
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes import TextRangeIndex
from tests.contrib.related.related_models import make_models
from tests.support.models import define

pytestmark = pytest.mark.slow

EVERY = (FKStringField, FKInstanceHashField, M2MSetField, M2MListField, M2MSortedSetField)


def related(host, name, /, namespace="spec", bases=(RelatedModel,), **body):
    return define(host, name, bases, namespace=namespace, **body)


@pytest.mark.parametrize("field_class", EVERY)
def test_target_is_a_class_a_name_or_the_model_itself(host, field_class):
    target = related(host, "Target")
    owner = related(
        host,
        "Owner",
        by_class=field_class(target, related_name="a"),
        by_name=field_class("Target", related_name="b"),
        by_full_name=field_class("spec:Target", related_name="c"),
        itself=field_class("self", related_name="d"),
        elsewhere=field_class("other:Target", related_name="e"),
    )
    assert [owner.get_field(name).related_to for name in ("by_class", "by_name", "by_full_name")] == ["spec:target"] * 3
    assert owner.get_field("by_name").related_model is target
    assert owner.get_field("itself").related_model is owner
    assert owner.get_field("elsewhere").related_to == "other:target"
    assert owner.get_field("by_class").indexable


@pytest.mark.parametrize("field_class", EVERY)
def test_target_may_be_defined_later(host, field_class):
    owner = related(host, "Owner", link=field_class("Later"))
    with pytest.raises(ImplementationError, match="no such model in its database"):
        _ = owner.get_field("link").related_model
    later = related(host, "Later")
    assert owner.get_field("link").related_model is later


@pytest.mark.parametrize("namespace", [None, "", "a:b", "MixedCase"])
def test_target_of_another_namespace_is_found_by_name(host, namespace):
    target = related(host, "Target", namespace)
    owner = related(host, "Owner", namespace, one=FKStringField("Target"), two=M2MSetField(target, related_name="two"))
    assert owner.get_field("one").related_model is target
    assert owner.get_field("two").related_model is target
    assert [each.related_name for each in host._relations_to(target)] == ["owner_set", "two"]


def test_target_name_ignores_case_if_no_exact_name_exists(host):
    target = related(host, "Target", "MixedCase")
    owner = related(host, "Owner", link=FKStringField("mixedcase:TARGET"))
    assert owner.get_field("link").related_model is target
    exact = related(host, "Target", "mixedcase")
    assert owner.get_field("link").related_model is exact
    assert [each.owner for each in host._relations_to(target)] == []


@pytest.mark.parametrize("to", [3, None, "", "spec:", model.RedisModel, RelatedModel, str, object()])
@pytest.mark.parametrize("field_class", EVERY)
def test_target_of_another_type_is_refused(field_class, to):
    with pytest.raises(ImplementationError, match="a related field is for a model"):
        field_class(to)


def test_target_argument_is_required():
    with pytest.raises(TypeError):
        FKStringField()


def test_misspelt_options_are_refused_and_limpyds_indexable_is_not():
    with pytest.raises(TypeError):
        FKStringField("Target", relatedname="x")
    assert FKStringField("Target", indexable=False).indexable


def test_model_that_is_not_related_is_refused_as_a_target_by_name(host):
    define(host, "Early", namespace="spec")
    with pytest.raises(ImplementationError, match=r"let it inherit from .*RelatedModel"):
        related(host, "Owner", link=FKStringField("Early"))
    related(host, "Owner", link=FKStringField("Late"))
    with pytest.raises(ImplementationError, match=r"let it inherit from .*RelatedModel"):
        define(host, "Late", namespace="spec")
    assert set(host._models) == {"spec:early", "spec:owner"}


def test_model_that_is_not_related_may_have_related_fields(host):
    target = related(host, "Target")
    owner = define(host, "Owner", namespace="spec", link=FKStringField(target))
    assert owner.get_field("link").related_model is target
    assert [each.owner for each in host._relations_to(target)] == ["spec:owner"]


def test_related_names_are_formatted(host):
    target = related(host, "Target")
    owner = related(
        host,
        "Owner",
        "My-Space",
        plain=FKStringField(target),
        named=FKStringField(target, related_name="Named"),
        made=FKStringField(target, related_name="%(namespace)s_%(model)s_x"),
    )
    names = {name: owner.get_field(name).related_name for name in ("plain", "named", "made")}
    assert names == {"plain": "owner_set", "named": "named", "made": "my_space_owner_x"}
    assert [each.related_name for each in host._relations_to(target)] == ["owner_set", "named", "my_space_owner_x"]


@pytest.mark.parametrize("name", ["with space", "a-b", "1st", "_hidden", "%(nothing)s", "50%", "%s"])
def test_related_names_that_are_not_identifiers_are_refused(host, name):
    target = related(host, "Target")
    with pytest.raises(ImplementationError, match="related name"):
        related(host, "Owner", link=FKStringField(target, related_name=name))
    assert set(host._models) == {"spec:target"}


def test_duplicate_related_name_is_refused(host):
    target = related(host, "Target")
    related(host, "First", link=FKStringField(target, related_name="them"))
    with pytest.raises(ImplementationError, match=r"'them' .* is taken: the field 'link' of 'spec:first'"):
        related(host, "Second", link=FKStringField(target, related_name="them"))
    with pytest.raises(ImplementationError, match="is taken"):
        related(host, "Third", one=FKStringField("Later"), two=FKStringField("Later"))
    assert set(host._models) == {"spec:target", "spec:first"}


@pytest.mark.parametrize("name", ["title", "delete", "adelete", "key", "pk", "database", "connected", "method"])
def test_related_name_of_an_attribute_of_the_target_is_refused(host, name):
    def late():
        return related(host, "Late", title=fields.StringField(), method=lambda _: None)

    early = related(host, "Early", title=fields.StringField(), method=lambda _: None)
    with pytest.raises(ImplementationError, match=f"can't have the related name {name!r}: Early has that attribute"):
        related(host, "Owner", link=FKStringField(early, related_name=name))
    related(host, "Owner", link=FKStringField("Late", related_name=name))
    with pytest.raises(ImplementationError, match="Late has that attribute"):
        late()


def test_link_field_needs_an_equality_index(host):
    target = related(host, "Target")
    parts = DateIndex.configure(name="Parts")
    related(host, "Ranged", link=FKStringField(target, indexes=[TextRangeIndex]))
    related(host, "Dated", link=FKStringField(target, indexes=[parts]))
    with pytest.raises(ImplementationError, match="finds objects by its value: add an EqualIndex"):
        related(
            host,
            "Joint",
            other=fields.StringField(),
            link=FKStringField(target, indexes=[EqualIndexWith.configure(other_fields=["other"])]),
        )


# Bases and submodels


def test_abstract_bases_are_resolved_for_each_submodel(host):
    base = related(
        host,
        "Base",
        abstract=True,
        link=FKStringField("Target", related_name="%(model)s_links"),
        friend=FKStringField("self"),
    )
    first = related(host, "First", bases=(base,))
    second = related(host, "Second", bases=(base,))
    target = related(host, "Target")
    assert [each.related_name for each in host._relations_to(target)] == ["first_links", "second_links"]
    assert first.get_field("friend").related_model is first
    assert second.get_field("friend").related_model is second
    assert base.get_field("link").related_name == "%(model)s_links"


def test_related_name_without_placeholder_in_an_abstract_base_serves_one_submodel(host):
    base = related(host, "Base", abstract=True, link=FKStringField("Target", related_name="links"))
    related(host, "First", bases=(base,))
    with pytest.raises(ImplementationError, match=r"write it with %\(model\)s"):
        related(host, "Second", bases=(base,))


@pytest.mark.pitfall(26)
def test_concrete_model_with_links_can_have_submodels(host):
    target = related(host, "Target")
    book = related(
        host,
        "Book",
        plain=FKStringField(target),
        named=M2MSetField(target, related_name="books"),
        made=M2MListField(target, related_name="%(model)s_made"),
        same=FKStringField("self", related_name="sequels"),
    )
    novel = related(host, "Novel", bases=(book,))
    short = related(host, "Short", bases=(novel,))
    assert [each.related_name for each in host._relations_to(target)] == [
        *("book_set", "books", "book_made"),
        *("novel_set", "novel_books", "novel_made"),
        *("short_set", "short_books", "short_made"),
    ]
    assert [each.related_name for each in host._relations_to(novel)] == ["novel_sequels"]
    assert short.get_field("same").related_model is short


def test_redeclared_related_field_has_its_own_relation(host):
    target = related(host, "Target")
    book = related(host, "Book", link=FKStringField(target, related_name="books"))
    related(host, "Novel", bases=(book,), link=FKStringField(target, related_name="novels"))
    related(host, "Leaflet", bases=(book,), link=None)
    assert [each.related_name for each in host._relations_to(target)] == ["books", "novels"]


def test_module_imported_twice_registers_relations_once(host):
    def load():
        return make_models(host)

    first, second = load(), load()
    assert first.Person is second.Person
    assert first.Book is second.Book
    assert len(host._relations_to(first.Person)) == 6


def test_class_statement_with_super_that_runs_again_links_to_the_new_class(host):
    def load():
        class Target(RelatedModel):
            database = host
            link = FKStringField("self", related_name="links")

            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)

        return Target

    load()
    second = load()
    assert second.get_field("link").related_model is second
    assert [each.related_name for each in host._relations_to(second)] == ["links"]


def test_class_statement_that_defines_another_relation_when_run_again_is_refused(host):
    def load(related_name):
        class Owner(RelatedModel):
            database = host
            link = FKStringField("Target", related_name=related_name)

        return Owner

    load("a")
    with pytest.raises(ImplementationError, match="has that name"):
        load("b")


def test_names_of_limpyd_can_be_imported():
    assert re_identifier.sub("_", "a-b:c") == "a_b_c"
    assert issubclass(FKStringField, SimpleValueRelatedFieldMixin)
    assert issubclass(M2MSetField, MultiValuesRelatedFieldMixin)
    assert issubclass(SimpleValueRelatedFieldMixin, RelatedFieldMixin)
    assert RelatedFieldMixin.related_collection_class is RelatedCollection
