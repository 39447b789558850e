"""Notes with FastAPI: endpoints and dependencies of both colours, a streamed reply, a background task.

``uvicorn examples.fastapi_app:app``, or ``python -m examples fastapi``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from examples.notes import Note, aas_dict, as_dict, router
from tenantlimpyd import current_tenant
from tenantlimpyd.middleware.asgi import TenantMiddleware, from_header

app = FastAPI(title="Notes")
app.add_middleware(TenantMiddleware, router=router, identify=from_header("X-Tenant-ID"), exempt=("/healthz",))


class NewNote(BaseModel):
    text: Annotated[str, Field(min_length=1, max_length=10_000)]


def note_of(pk: int) -> Note:
    """A blocking dependency: FastAPI runs it in a thread, where the tenant is the request's."""
    try:
        return Note.get(pk)
    except Note.DoesNotExist:
        raise HTTPException(404, "There is no such note.") from None


async def how_many() -> int:
    """An awaiting dependency."""
    return await Note.collection().acount()


def count_words(note: Note) -> None:
    note.words.hset(len((note.text.hget() or "").split()))


@app.post("/notes", status_code=201)
async def create(new: NewNote, tasks: BackgroundTasks) -> dict[str, object]:
    note = await Note.acreate(text=new.text)
    tasks.add_task(count_words, note)  # runs after the reply was sent, and still for this request's tenant
    return await aas_dict(note)


@app.get("/notes")
def listing() -> list[dict[str, object]]:  # a plain `def` runs in a thread
    return [as_dict(note) for note in Note.instances()[:100]]


@app.get("/notes/{pk}")
def one(note: Annotated[Note, Depends(note_of)]) -> dict[str, object]:
    return as_dict(note)


@app.get("/count")
async def count(number: Annotated[int, Depends(how_many)]) -> dict[str, object]:
    return {"tenant": current_tenant(), "notes": number}


@app.get("/export")
def export() -> StreamingResponse:
    def lines() -> Iterator[str]:
        for note in Note.instances():
            yield f"{current_tenant()}\t{note.text.hget()}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/healthz")
async def healthy() -> str:
    return "ok"
