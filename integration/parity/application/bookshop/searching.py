"""Indexes of the shop's own."""

import unicodedata

from limpyd.contrib.indexes import DateIndex, EqualIndexWith, MultiIndexes, ScoredEqualIndex
from limpyd.indexes import EqualIndex, NumberRangeIndex, TextRangeIndex


def plain(value):
    """Return text without accents and capitals."""
    parts = unicodedata.normalize("NFKD", str(value))
    return "".join(part for part in parts if not unicodedata.combining(part)).lower()


def decade(index, value):
    """Return the first year of the decade of a date."""
    return f"{str(value)[:3]}0" if index.field.name else None


PlainIndex = EqualIndex.configure(prefix="plain", transform=plain, name="PlainIndex")
InitialIndex = EqualIndex.configure(prefix="initial", transform=lambda value: plain(value)[:1], name="InitialIndex")
DecadeIndex = EqualIndex.configure(prefix="decade", transform=decade, name="DecadeIndex")
TitleIndex = MultiIndexes.compose([EqualIndex, PlainIndex, InitialIndex], name="TitleIndex")
SortableIndex = TextRangeIndex.configure(prefix="text", transform=plain, name="SortableIndex")
PriceIndex = NumberRangeIndex
ReleaseIndex = DateIndex


def by_popularity(field):
    """Return an index whose results come in the order of another field."""
    return ScoredEqualIndex.configure(score_field=field)


def together(*names):
    """Return an index over several fields."""
    return EqualIndexWith.configure(other_fields=list(names))
