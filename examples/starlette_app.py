"""Notes with Starlette: everything awaits. ``uvicorn examples.starlette_app:app``, or ``python -m examples starlette``."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from examples.notes import Note, aas_dict, checked_text, router
from tenantlimpyd import current_tenant
from tenantlimpyd.middleware.asgi import TenantMiddleware, from_header


async def create(request: Request) -> Response:
    try:
        text = checked_text(await request.json())
    except ValueError as error:
        return JSONResponse({"error": "invalid_note", "detail": str(error)}, 422)
    note = await Note.acreate(text=text)
    # It runs after the reply was sent, and still for this request's tenant.
    return JSONResponse(await aas_dict(note), 201, background=BackgroundTask(count_words, note))


async def count_words(note: Note) -> None:
    text = await note.text.ahget()
    await note.words.ahset(len((text or "").split()))


async def listing(_request: Request) -> Response:
    return JSONResponse([await aas_dict(note) for note in await Note.instances().aslice(0, 100)])


async def export(_request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        async for note in Note.instances():
            yield f"{current_tenant()}\t{await note.text.ahget()}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def live(socket: WebSocket) -> None:
    """Keep what is sent as notes, and answer with the number of notes there are."""
    await socket.accept()
    try:
        async for text in socket.iter_text():
            await Note.acreate(text=text)
            await socket.send_json({"tenant": current_tenant(), "notes": await Note.collection().acount()})
    except WebSocketDisconnect:
        pass


async def healthy(_request: Request) -> Response:
    return PlainTextResponse("ok")


app = Starlette(
    routes=[
        Route("/notes", create, methods=["POST"]),
        Route("/notes", listing),
        Route("/export", export),
        Route("/healthz", healthy),
        WebSocketRoute("/live", live),
    ],
    middleware=[
        Middleware(TenantMiddleware, router=router, identify=from_header("X-Tenant-ID"), exempt=("/healthz",)),
    ],
)
