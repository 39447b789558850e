"""The demo's story: servers, a configuration, a service, its clients; a server that dies; a scan over all tenants."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
from rich.console import Console

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.demo.app import TENANT_HEADER, application
from tenantlimpyd.demo.report import Teller
from tenantlimpyd.demo.serving import serving
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.router import DatabaseRouter

__all__ = ["run"]

TENANTS = ("acme", "globex", "initech", "umbrella", "hooli")
ON_SECOND_SERVER = "hooli"
NOTES = 12
DEADLINE = 1.0

CONFIGURATION = """\
[servers.first]
host = "127.0.0.1"
port = {first}

[servers.second]
host = "127.0.0.1"
port = {second}

[tenants.acme]
server = "first"
db = 1

[tenants.globex]
server = "first"
db = 2

# These two share a database, each with a key prefix of its own.
[tenants.initech]
server = "first"
db = 3
key_prefix = "initech:"

[tenants.umbrella]
server = "first"
db = 3
key_prefix = "umbrella:"

[tenants.hooli]
server = "second"
db = 1
"""


def run(console: Console) -> bool:
    """Run the demo; takes a few seconds, and leaves nothing behind.

    Args:
        console: where to print.

    Returns:
        Whether everything was as it should be.
    """
    teller = Teller(console)
    started = time.monotonic()
    with _servers() as (first, second):
        teller.step("Two servers of our own, on 127.0.0.1, and a configuration with five tenants.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "tenants.toml")
            path.write_text(CONFIGURATION.format(first=first.port, second=second.port))
            router = DatabaseRouter.from_config(path)
        places = [(tenant, router.database_for(tenant).keyspace) for tenant in router.tenants()]
        rows = [(tenant, place.server, place.db, place.prefix) for tenant, place in places]
        teller.table(("tenant", "server", "db", "key prefix"), rows)
        with router:
            problems = router.check(timeout=DEADLINE)
            teller.claim("All can be reached, and no two share keys.", not problems, problems)
            asyncio.run(_service(router, second, teller))
            _scan(router, teller)
    seconds = time.monotonic() - started
    teller.step("The end.")
    if teller.failures:
        teller.say(f"{teller.failures} of {teller.claims} claims did not hold.")
    else:
        teller.say(f"All {teller.claims} claims held. It took {seconds:.1f} s.")
    return not teller.failures


@contextlib.contextmanager
def _servers() -> Iterator[tuple[EmbeddedServer, EmbeddedServer]]:
    # The second one writes each change to disk: it will be killed, and is to come back with its data.
    with EmbeddedServer() as first, EmbeddedServer(options={"appendonly": True, "appendfsync": "always"}) as second:
        yield first, second


async def _service(router: DatabaseRouter, second: EmbeddedServer, teller: Teller) -> None:
    async with router, serving(application(router)) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        teller.step("A service on one model, bound to the router. Its clients come all at once.")
        teller.say(f"uvicorn serves it at {url}; the header {TENANT_HEADER} names the tenant.")
        await _write(client, teller)
        await _read(client, teller)
        teller.step("Requests with no tenant that exists never reach the application.")
        await _refusals(client, teller)
        teller.step("One server dies. The others don't mind.")
        await _outage(router, second, client, teller)


async def _write(client: httpx.AsyncClient, teller: Teller) -> None:
    """Write notes for all tenants, in turn and concurrently: note 1 of each, note 2 of each..."""
    requests = [
        client.post("/notes", headers={TENANT_HEADER: tenant}, json={"author": "Ann", "text": f"{tenant}'s note {n}"})
        for n in range(1, NOTES + 1)
        for tenant in TENANTS
    ]
    statuses = Counter(response.status_code for response in await asyncio.gather(*requests))
    teller.claim(
        f"{len(requests)} notes are written, {NOTES} for each tenant.", statuses == {201: len(requests)}, statuses
    )


async def _read(client: httpx.AsyncClient, teller: Teller) -> None:
    """Ask each tenant for all of Ann's notes, concurrently: every tenant has an Ann."""
    answers = await asyncio.gather(*(_notes(client, tenant) for tenant in TENANTS))
    for tenant, notes in zip(TENANTS, answers, strict=True):
        own = sorted(notes) == _expected(tenant)
        teller.claim(f"{tenant} finds its own {NOTES} notes of Ann, and nobody else's.", own, notes)


async def _notes(client: httpx.AsyncClient, tenant: str) -> list[str]:
    response = await client.get("/notes", headers={TENANT_HEADER: tenant}, params={"author": "Ann"})
    return list(response.json()["notes"]) if response.status_code == httpx.codes.OK else [response.text]


async def _refusals(client: httpx.AsyncClient, teller: Teller) -> None:
    for name, headers, status, code in (
        ("An unknown tenant", {TENANT_HEADER: "nobody"}, 404, "unknown_tenant"),
        ("A malformed one (*)", {TENANT_HEADER: "*"}, 400, "invalid_tenant"),
        ("None at all", {}, 400, "no_tenant"),
    ):
        response = await client.get("/notes", headers=headers)
        answer = response.json()
        teller.claim(
            f"{name}: {status}, {answer['detail']}", (response.status_code, answer["error"]) == (status, code), answer
        )


async def _outage(router: DatabaseRouter, second: EmbeddedServer, client: httpx.AsyncClient, teller: Teller) -> None:
    async def size(database: RedisDatabase) -> int:
        return int(await database.aconnection.dbsize())

    second.kill()
    started = time.monotonic()
    outcomes = await router.afan_out(size, on_error="collect", timeout=DEADLINE)
    seconds = time.monotonic() - started
    failed = [tenant for tenant, outcome in outcomes.items() if not outcome.ok]
    answered = [tenant for tenant in outcomes if tenant not in failed]
    others = [tenant for tenant in TENANTS if tenant != ON_SECOND_SERVER]
    teller.claim(f"All are asked side by side. {', '.join(others)} answer.", answered == others, answered)
    teller.claim(f"The one that does not is named: {ON_SECOND_SERVER}.", failed == [ON_SECOND_SERVER], failed)
    error = outcomes[ON_SECOND_SERVER].error
    teller.say(f"        Its error: {type(error).__name__}: {error}")
    limit = DEADLINE + 1
    teller.claim(f"That took {seconds:.2f} s; its deadline was {DEADLINE:g} s.", seconds < limit, seconds)
    notes = await _notes(client, "acme")
    teller.claim("acme's clients are served meanwhile.", len(notes) == NOTES, notes)
    second.start()
    started = time.monotonic()
    while not (ready := all(server.ok for server in (await router.ahealth()).servers)):
        if time.monotonic() > started + 10 * DEADLINE:
            break
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - started
    teller.claim(f"The server is back, and after {seconds:.2f} s router.ahealth() says so.", ready, seconds)
    notes = await _notes(client, ON_SECOND_SERVER)
    teller.claim(f"With the same router, {ON_SECOND_SERVER} has its notes.", len(notes) == NOTES, notes)


def _scan(router: DatabaseRouter, teller: Teller) -> None:
    teller.step("One call scans the keys of all tenants, on all servers: router.scan_keys().")
    keys: dict[str, set[str]] = {tenant: set() for tenant in TENANTS}
    for tenant, key in router.scan_keys(timeout=DEADLINE * 5):
        keys[tenant].add(key)
    notes = {tenant: sorted(key for key in found if key.endswith(":text")) for tenant, found in keys.items()}
    teller.table(
        ("tenant", "keys", "of these, texts of notes", "the first"),
        [(tenant, len(keys[tenant]), len(notes[tenant]), (notes[tenant] or ["none"])[0]) for tenant in TENANTS],
    )
    counts = {tenant: len(found) for tenant, found in notes.items()}
    teller.claim(f"Each tenant has {NOTES} notes.", counts == dict.fromkeys(TENANTS, NOTES), counts)
    texts = router.fan_out(_texts, timeout=DEADLINE * 5)
    strays = {tenant: texts[tenant].value != _expected(tenant) for tenant in TENANTS}
    teller.claim(
        "Read straight from the servers, each text is its tenant's own: nothing strayed.",
        not any(strays.values()),
        strays,
    )


def _texts(database: RedisDatabase) -> list[str]:
    """Read all texts of notes without the models."""
    keys = [database.key_prefix + key for key in set(database.scan_keys("*:text"))]
    return sorted(map(str, database.connection.mget(keys))) if keys else []


def _expected(tenant: str) -> list[str]:
    return sorted(f"{tenant}'s note {n}" for n in range(1, NOTES + 1))
