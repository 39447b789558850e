"""The notes: a router, and a model bound to it. Nothing here knows of a web framework, or of a tenant by name."""

from __future__ import annotations

from tenantlimpyd import DatabaseRouter, fields, model

router = DatabaseRouter()
"""Gets its tenants from whoever starts the service; with a file it is ``DatabaseRouter.from_config("tenants.toml")``."""


class Note(model.RedisModel):
    """A note of the current tenant."""

    database = router
    namespace = "notes"
    text = fields.InstanceHashField()
    words = fields.InstanceHashField()


def checked_text(payload: object) -> str:
    """Return the text in a request's JSON, or raise ValueError."""
    text = payload.get("text") if isinstance(payload, dict) else None
    if not isinstance(text, str) or not 0 < len(text) <= 10_000:
        raise ValueError('a note is {"text": ...}, with 1 to 10,000 characters')
    return text


def as_dict(note: Note) -> dict[str, object]:
    """Return a note as it goes into a reply."""
    return {"id": int(note.pk.get()), **note.hgetall()}


async def aas_dict(note: Note) -> dict[str, object]:
    """Return a note as :func:`as_dict`, awaiting."""
    return {"id": int(await note.pk.aget()), **await note.ahgetall()}
