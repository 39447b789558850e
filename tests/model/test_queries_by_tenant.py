"""A query of a class belongs to the tenant that was current at the call, however late it is awaited."""

from __future__ import annotations

import pytest

from tenantlimpyd import DatabaseRouter, RedisDatabase, fields, model


@pytest.fixture
def pks(flushed_server):
    router = DatabaseRouter(
        {tenant: RedisDatabase(**flushed_server.settings, db=1, key_prefix=f"{tenant}:") for tenant in ("one", "other")}
    )

    class Named(model.RedisModel):
        database = router
        name = fields.PKField()

    with router:
        for tenant in router.tenants():
            with router.use_tenant(tenant):
                Named(name=f"of {tenant}")
        yield router, Named.get_field("pk")


async def test_query_awaited_under_another_tenant_reads_the_first_tenant(pks):
    router, pk = pks
    with router.use_tenant("one"):
        everything, there = pk.acollection(), pk.aexists("of other")
    with router.use_tenant("other"):
        assert await everything == {"of one"}
    assert await there is False  # with no tenant at all
    await router.aclose()


def test_sync_query_reads_the_current_tenant(pks):
    router, pk = pks
    with router.use_tenant("other"):
        assert pk.collection() == {"of other"}
        assert pk.exists("of other")
        assert not pk.exists("of one")
        with pytest.raises(ValueError, match="needs a pk"):
            pk.exists()
