"""A resume token that was changed in any way is refused."""

from __future__ import annotations

import string

import pytest

from tenantlimpyd import DatabaseRouter, RedisDatabase

pytestmark = pytest.mark.slow

ALPHABET = string.ascii_letters + string.digits + "-_=+/. \n\u00e9"


@pytest.fixture
def router(flushed_server):
    with DatabaseRouter({f"t{db}": RedisDatabase(**flushed_server.settings, db=db) for db in range(1, 5)}) as router:
        for db in range(1, 5):
            router.database_for(f"t{db}").connection.mset({f"k{number}": 1 for number in range(50)})
        yield router


@pytest.mark.slow
def test_token_with_a_changed_character_is_refused(router):
    with router.scan_keys(count=10) as scan:
        for _ in range(70):
            next(scan)
        token = scan.token()
    router.scan_keys(count=10, resume=token).close()
    accepted = []
    for position, there in enumerate(token):
        for other in ["", *ALPHABET]:
            if other == there:
                continue
            try:
                router.scan_keys(count=10, resume=token[:position] + other + token[position + 1 :]).close()
            except ValueError:
                continue
            accepted.append((position, there, other))
    for changed in (
        token * 2,
        f"{token} ",
        f" {token}",
        f"{token}\n",
        f"{token}=",
        token[:-1],
        token[1:],
        f"{token}A",
        "",
    ):
        with pytest.raises(ValueError, match="token"):
            router.scan_keys(count=10, resume=changed)
    assert accepted == []
