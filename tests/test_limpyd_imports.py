"""Every import of limpyd applications works under the same module paths."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import subprocess
import sys
import warnings

import pytest

# By module: names for users, names that applications import from there, and private names in use.
NAMES = {
    "": "VERSION EXACT_VERSION",
    "model": "RedisModel MetaRedisModel RedisDatabase RedisField StringField ListField SetField SortedSetField PKField "
    "AutoPKField HashField InstanceHashField LimpydException UniquenessError DoesNotExist ImplementationError "
    "CollectionManager make_key",
    "fields": "RedisField SingleValueField MultiValuesField StringField HashField InstanceHashField SetField ListField "
    "SortedSetField PKField AutoPKField FieldLock LimpydException UniquenessError DoesNotExist ImplementationError make_key "
    "normalize Lock",
    "database": "RedisDatabase DEFAULT_CONNECTION_SETTINGS Lock LimpydException ImplementationError EqualIndex",
    "exceptions": "LimpydException UniquenessError DoesNotExist ImplementationError",
    "indexes": "BaseIndex EqualIndex BaseRangeIndex TextRangeIndex NumberRangeIndex",
    "collection": "CollectionManager CollectionResults ParsedFilter NONE_SLICE",
    "utils": "make_key unique_key normalize cached_property NotProvided",
    "contrib.database": "PipelineDatabase _Pipeline",
    "contrib.collection": "ExtendedCollectionManager SORTED_SCORE DEFAULT_STORE_TTL RawFilter",
    "contrib.indexes": "MultiIndexes DateIndexParts DateRangeIndex DateIndex TimeIndexParts TimeRangeIndex TimeIndex "
    "DateSimpleTimeIndex DateTimeIndex SimpleDateTimeIndex ScoredEqualIndex EqualIndexWith EqualIndex TextRangeIndex "
    "NumberRangeIndex BaseIndex",
    "contrib.related": "RelatedModel RelatedCollection FKStringField FKInstanceHashField M2MSetField M2MListField "
    "M2MSortedSetField RelatedFieldMixin SimpleValueRelatedFieldMixin MultiValuesRelatedFieldMixin RelatedFieldMetaclass "
    "re_identifier",
}
# D31 of the list of differences: limpyd's internal classes.
MISSING = {
    "model": {"threadlocal", "RedisProxyCommand", "MetaRedisProxy"},
    "fields": {"RedisProxyCommand", "MetaRedisProxy"},
    "contrib.collection": {"_StoredCollection"},
    "contrib.indexes": {"_ScoredEqualIndex_RelatedIndex", "_EqualIndexWith_RelatedIndex"},
}


def imported(root: str, module: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # limpyd imports pkg_resources
        return importlib.import_module(f"{root}.{module}".rstrip("."))


@pytest.mark.parametrize("module", NAMES)
def test_names_can_be_imported_from_the_modules_of_limpyd(module):
    ours, limpyds = imported("tenantlimpyd", module), imported("limpyd", module)
    wanted = NAMES[module].split()
    assert [name for name in wanted if not hasattr(limpyds, name)] == []
    assert [name for name in wanted if not hasattr(ours, name)] == []


@pytest.mark.parametrize("module", NAMES)
def test_every_class_function_and_exception_of_limpyd_exists_or_is_listed(module):
    ours, limpyds = imported("tenantlimpyd", module), imported("limpyd", module)
    own = {
        name
        for name, value in vars(limpyds).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == limpyds.__name__
        and not name.startswith("_")
    }
    assert own - vars(ours).keys() == MISSING.get(module, set()) & own


@pytest.mark.parametrize(("module", "names"), MISSING.items())
def test_names_listed_as_missing_do_not_exist(module, names):
    assert not [name for name in names if hasattr(imported("tenantlimpyd", module), name)]


@pytest.mark.slow
def test_importing_any_module_first_works():
    for module in NAMES:
        subprocess.run([sys.executable, "-c", f"import tenantlimpyd.{module}".rstrip(".")], check=True)
