"""The example applications with two tenants, and a client that sends concurrent requests to each."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
from collections.abc import Iterator
from typing import Any

import attrs
import httpx
import pytest

from examples import APPLICATIONS, WSGI
from examples.notes import router
from tenantlimpyd import RedisDatabase


@pytest.fixture(autouse=True)
def tenants(flushed_server) -> Iterator[tuple[str, ...]]:
    """The examples' router with two tenants, on empty databases."""
    ids = ("acme", "globex")
    for number, tenant in enumerate(ids, start=1):
        router.add(tenant, RedisDatabase(**flushed_server.settings, db=number))
    yield ids
    for tenant in ids:
        router.remove(tenant)


@attrs.frozen
class Ask:
    """A request."""

    method: str
    path: str
    tenant: str | None = None
    json: Any = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        headers = list(self.headers)
        if self.tenant is not None:
            headers.append(("X-Tenant-ID", self.tenant))
        return {"method": self.method, "url": self.path, "json": self.json, "headers": headers}


@attrs.frozen
class Client:
    """Sends requests to one of the applications: as tasks, or as threads, all at once."""

    name: str

    @property
    def is_asgi(self) -> bool:
        return self.name not in WSGI

    @property
    def app(self) -> Any:
        module, attribute = APPLICATIONS[self.name].split(":")
        return getattr(importlib.import_module(module), attribute)

    def send(self, *asked: Ask) -> list[httpx.Response]:
        return asyncio.run(self._asend(asked)) if self.is_asgi else self._send(asked)

    async def _asend(self, asked: tuple[Ask, ...]) -> list[httpx.Response]:
        try:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app), base_url="http://testserver"
            ) as client:
                return await asyncio.gather(*(client.request(**ask.arguments) for ask in asked))
        finally:
            await router.aclose()

    def _send(self, asked: tuple[Ask, ...]) -> list[httpx.Response]:
        with (
            httpx.Client(transport=httpx.WSGITransport(self.app), base_url="http://testserver") as client,
            concurrent.futures.ThreadPoolExecutor(8) as threads,
        ):
            return list(threads.map(lambda ask: client.request(**ask.arguments), asked))

    def get(self, path: str, tenant: str | None = None) -> httpx.Response:
        return self.send(Ask("GET", path, tenant))[0]

    def post(self, text: Any, tenant: str | None = None) -> httpx.Response:
        return self.send(Ask("POST", "/notes", tenant, {"text": text}))[0]


@pytest.fixture(params=APPLICATIONS)
def client(request) -> Client:
    """Each of the applications."""
    return Client(request.param)


@pytest.fixture(params=["starlette", "fastapi"])
def with_tasks(request) -> Client:
    """Those that do something in the background."""
    return Client(request.param)
