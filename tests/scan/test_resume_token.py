"""Resume tokens: a stopped scan continues in another process and misses no key."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import zlib

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tenantlimpyd import RedisDatabase
from tenantlimpyd._connections.settings import Keyspace
from tenantlimpyd._scan.resume_token import ResumeToken, request_digest
from tenantlimpyd._scan.server_identity import ServerIdentity
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.router import DatabaseRouter

pytestmark = pytest.mark.slow

ASKED = request_digest(None, None)


class StoredSource:
    """A source as a token stores it."""

    def __init__(self, tenant, cursor, identity, server="redis-1:6379"):
        self.jobs = [StoredSource.Job(tenant, server)]
        self.handed = (cursor, identity)
        self.cursor, self.identity, self.begun = b"0", None, False

    class Job:
        def __init__(self, tenant, server):
            self.tenant = tenant
            self.database = self
            self.keyspace = Keyspace(server, 0, f"{tenant}:")


tenant_sets = st.sets(st.integers(0, 500).map("t{}".format), max_size=120)


@given(tenants=tenant_sets, more=tenant_sets, data=st.data())
def test_finished_tenants_of_a_token_are_never_more_than_had_finished(tenants, more, data):
    through = {tenant for tenant in sorted(tenants) if data.draw(st.booleans())}
    token = ResumeToken.decoded(ResumeToken.of(ASKED, tenants, through, ()).encoded(), ASKED)
    assert token.finished(sorted(tenants)) == through
    assert token.finished(sorted(tenants | more)) <= through
    assert token.finished(sorted(tenants - more)) <= through


def test_added_tenant_reopens_only_its_bucket():
    tenants = [f"t{number}" for number in range(1000)]
    token = ResumeToken.of(ASKED, tenants, tenants, ())
    assert len(token.finished([*tenants, "late"])) > 900
    assert "late" not in token.finished([*tenants, "late"])


def test_cursors_are_restored_only_for_the_same_server():
    identity = ServerIdentity(b"run", b"master")
    sources = [
        StoredSource("a", b"17", identity),
        StoredSource("b", b"0", identity),
        StoredSource("c", b"5", ServerIdentity(b"", b"", object())),
    ]
    token = ResumeToken.decoded(ResumeToken.of(ASKED, "abc", (), sources).encoded(), ASKED)
    again = [StoredSource(tenant, b"0", None) for tenant in "abcd"]
    for source in again:
        token.put(source)
    assert [source.cursor for source in again] == [b"17", b"0", b"0", b"0"]
    assert again[0].identity == identity


@pytest.mark.parametrize(("server", "cursor"), [("127.0.0.1:6379", b"17"), ("redis-1:6379", b"0")])
def test_cursors_are_restored_for_another_name_of_the_same_host(server, cursor):
    source = StoredSource("a", b"17", ServerIdentity(b"run", b"master"), "localhost:6379")
    token = ResumeToken.of(ASKED, "a", (), [source])
    again = StoredSource("a", b"0", None, server)
    token.put(again)
    assert again.cursor == cursor


def test_token_size_is_bounded():
    tenants = [f"tenant-with-a-long-name-{number}" for number in range(10_000)]
    sources = [
        StoredSource(tenant, b"%d" % (2**63 - number), ServerIdentity(b"r" * 40, b"master"))
        for number, tenant in enumerate(tenants)
    ]
    assert len(ResumeToken.of(ASKED, tenants, tenants[::2], ()).encoded()) < 10_000
    assert len(ResumeToken.of(ASKED, tenants, tenants[::2], sources).encoded()) < 50_000


def test_token_contains_neither_tenant_ids_nor_secrets(fleet):
    scan = fleet.scan_keys(match="t*hunter2*")
    list(scan)
    token = scan.token()
    content = zlib.decompress(base64.urlsafe_b64decode(token.removeprefix("tlw1."))[8:]).decode()
    for word in ("t1", "hunter2", "127.0.0.1", "localhost"):
        assert word not in content


def forged(**changes):
    content = json.loads(
        zlib.decompress(base64.urlsafe_b64decode(ResumeToken.of(ASKED, "ab", "a", ()).encoded()[5:])[8:])
    )
    content.update(changes)
    return packed(json.dumps(content).encode())


def packed(text):
    compressed = zlib.compress(text)
    return "tlw1." + base64.urlsafe_b64encode(hashlib.sha256(compressed).digest()[:8] + compressed).decode()


DEEP = packed(b"[" * 100_000)
GOOD = ResumeToken.of(ASKED, "ab", "a", ()).encoded()


@pytest.mark.parametrize(
    ("token", "error", "text"),
    [
        (5, TypeError, "must be the result of a scan's token"),
        (b"tlw1.", TypeError, "must be the result of a scan's token"),
        ("", ValueError, "not a token of this version"),
        ("tlw2." + GOOD[5:], ValueError, "not a token of this version"),
        ("tlw1.", ValueError, "this one is damaged"),
        ("tlw1.!!!", ValueError, "this one is damaged"),
        (GOOD[:-6], ValueError, "this one is damaged"),
        (GOOD[:20] + ("A" if GOOD[20] != "A" else "B") + GOOD[21:], ValueError, "this one is damaged"),
        (forged(buckets=2**40), ValueError, "this one is damaged"),
        (forged(buckets="1"), ValueError, "this one is damaged"),
        (forged(places=[["x", 7, 1]]), ValueError, "this one is damaged"),
        (forged(places=[["x", -1, 1]]), ValueError, "this one is damaged"),
        (forged(through=5), ValueError, "this one is damaged"),
        (DEEP, ValueError, "this one is damaged"),
        ("tlw1." + base64.urlsafe_b64encode(b"12345678" + zlib.compress(b"0" * 2**27)).decode(), ValueError, "damaged"),
        (ResumeToken.of(request_digest("a*", None), "ab", "a", ()).encoded(), ValueError, "another match or type"),
    ],
    ids=range(16),
)
def test_invalid_token_or_token_of_another_scan_is_refused(fleet, token, error, text):
    for scan in (fleet.scan_keys, fleet.scan_pages, fleet.ascan_keys, fleet.ascan_pages):
        with pytest.raises(error, match=text):
            scan(resume=token)


def test_forged_list_of_tenants_finishes_no_tenant():
    assert ResumeToken.decoded(forged(through=""), ASKED).finished(["a", "b"]) == set()
    assert (
        ResumeToken.decoded(forged(through=base64.b64encode(b"\xff\xff").decode()), ASKED).finished(["a", "b"]) == set()
    )


@pytest.fixture
def large(flushed_server):
    """Six tenants of 900 keys."""
    databases = {f"t{number}": RedisDatabase(**flushed_server.settings, db=number) for number in range(6)}
    with DatabaseRouter(databases) as router:
        for tenant in router.tenants():
            router.database_for(tenant).connection.mset({f"{tenant}:{key}": 1 for key in range(900)})
        yield router


EVERYTHING = {(f"t{number}", f"t{number}:{key}") for number in range(6) for key in range(900)}


@pytest.mark.parametrize("stop", [0, 1, 100, 2500, 5000, 5400])
async def test_scan_stopped_anywhere_and_resumed_is_complete(large, stop):
    seen = []
    scan = large.scan_keys(count=50)
    for item in scan if stop else ():
        seen.append(item)
        if len(seen) == stop:
            break
    token = scan.token()
    scan.close()
    rest = list(large.scan_keys(count=50, resume=token))
    assert {*seen, *rest} == EVERYTHING
    if stop:
        assert len(rest) < len(EVERYTHING) or stop < 400
    seen.clear()
    async with large.ascan_keys(count=50) as ascan:
        async for item in ascan if stop else _none():
            seen.append(item)
            if len(seen) == stop:
                break
        token = ascan.token()
    assert {*seen, *[item async for item in large.ascan_keys(count=50, resume=token)]} == EVERYTHING
    await large.aclose()


async def _none():
    for item in ():
        yield item


def test_scan_can_be_resumed_repeatedly(large):
    seen, token, rounds = set(), None, 0
    while True:
        scan = large.scan_pages(count=50, resume=token)
        for page, (tenant, keys) in enumerate(scan):
            seen.update((tenant, key) for key in keys)
            if page == 24:
                break
        else:
            break
        token = scan.token()
        scan.close()
        rounds += 1
    assert seen == EVERYTHING
    assert 3 < rounds < 40
    assert list(large.scan_keys(count=50, resume=scan.token())) == []  # all tenants are done


def test_finished_token_finds_new_tenants_only(fleet, flushed_server):
    scan = fleet.scan_keys()
    list(scan)
    assert list(fleet.scan_keys(resume=scan.token())) == []
    assert dict(fleet.scan_keys(resume=scan.token()).outcomes) == {}
    fleet.add("late", RedisDatabase(**flushed_server.settings, db=50))
    fleet.database_for("late").connection.set("new", 1)
    assert ("late", "new") in set(fleet.scan_keys(resume=scan.token()))


def test_resumed_scan_with_unique_is_not_exact(large):
    scan = large.scan_keys(count=50, unique=True)
    for _ in range(500):
        next(scan)
    assert scan.exact
    with large.scan_keys(count=50, unique=True, resume=scan.token()) as resumed:
        next(resumed)
        assert not resumed.exact
    scan.close()


PROGRAM = """
import sys
from tenantlimpyd import DatabaseRouter, RedisDatabase
port, token = int(sys.argv[1]), sys.stdin.read()
router = DatabaseRouter({f"t{n}": RedisDatabase(host="127.0.0.1", port=port, db=n) for n in range(6)})
for tenant, key in router.scan_keys(count=50, resume=token):
    print(tenant, key)
router.close()
"""


def test_another_process_resumes_the_scan(large, flushed_server):
    seen = set()
    with large.scan_keys(count=50) as scan:
        for item in scan:
            seen.add(item)
            if len(seen) == 3000:
                break
        token = scan.token()
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(flushed_server.port)],
        input=token,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    rest = {tuple(line.split()) for line in found.splitlines()}
    assert seen | rest == EVERYTHING
    assert len(rest) < 4000


def test_cursors_of_a_restarted_server_are_not_used(tmp_path):
    structlog.configure()
    with EmbeddedServer(data_dir=tmp_path, options={"appendonly": True, "appendfsync": "always"}) as server:
        router = DatabaseRouter({"t": RedisDatabase(**server.settings)})
        router.database_for("t").connection.mset({f"k:{number}": 1 for number in range(2000)})
        scan = router.scan_keys(count=50)
        seen = {next(scan) for _ in range(500)}
        token = scan.token()
        scan.close()
        router.close()
        server.stop()
        server.start()
        with capture_logs() as events:
            resumed = router.scan_keys(count=50, resume=token)
            rest = set(resumed)
        router.close()
    assert len(rest) == 2000
    assert seen <= rest
    assert resumed.outcomes["t"].restarts == 1
    assert [event["reason"] for event in events if event["event"] == "scan_restarted"] == ["run id"]
