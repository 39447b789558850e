"""Joining and escaping of key names."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd.keys import escape_glob, make_key


def test_make_key_joins_the_parts_with_colons():
    assert make_key("ns", "person", 1, "name", "hash") == "ns:person:1:name:hash"
    assert make_key() == ""
    assert make_key("a:b", None) == "a:b:None"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text("ab*?[]\\^-é\n:", max_size=8),
    others=st.sets(st.text("ab*?[]\\^-é\n:", max_size=8), max_size=5),
)
def test_escaped_text_matches_only_itself(database, text, others):
    connection = database.connection
    connection.flushdb()
    connection.mset(dict.fromkeys({text, *others}, 1))
    assert connection.keys(escape_glob(text)) == [text]
