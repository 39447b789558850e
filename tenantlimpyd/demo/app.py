"""The demo's application: notes over HTTP, each tenant with its own."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tenantlimpyd import DatabaseRouter, current_tenant, fields, model
from tenantlimpyd.middleware.asgi import TenantMiddleware, from_header

__all__ = ["TENANT_HEADER", "application"]

TENANT_HEADER = "X-Tenant-ID"


def application(router: DatabaseRouter) -> Starlette:
    """Return an ASGI application with two routes, ``POST /notes`` and ``GET /notes``, for the router's tenants."""

    class Note(model.RedisModel):
        database = router
        namespace = "demo"
        author = fields.InstanceHashField(indexable=True)
        text = fields.StringField()

    async def create(request: Request) -> JSONResponse:
        sent = await request.json()
        note = await Note.acreate(author=sent["author"], text=sent["text"])
        return JSONResponse({"tenant": current_tenant(), "id": await note.pk.aget()}, status_code=201)

    async def found(request: Request) -> JSONResponse:
        author = request.query_params.get("author")
        wanted = Note.collection() if author is None else Note.collection(author=author)
        notes = [await note.text.aget() async for note in wanted.instances()]
        return JSONResponse({"tenant": current_tenant(), "notes": notes})

    return Starlette(
        routes=[Route("/notes", create, methods=["POST"]), Route("/notes", found, methods=["GET"])],
        # What the application does runs inside the request's tenant. It names none itself.
        middleware=[Middleware(TenantMiddleware, router=router, identify=from_header(TENANT_HEADER))],
    )
