"""The views: blocking ones, and one that awaits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET, require_http_methods

from examples.notes import Note, as_dict, checked_text
from tenantlimpyd import current_tenant


@require_http_methods(["GET", "POST"])
def notes(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        return JsonResponse([as_dict(note) for note in Note.instances()[:100]], safe=False)
    try:
        text = checked_text(json.loads(request.body))
    except ValueError as error:
        return JsonResponse({"error": "invalid_note", "detail": str(error)}, status=422)
    return JsonResponse(as_dict(Note(text=text)), status=201)


async def count(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"tenant": current_tenant(), "notes": await Note.collection().acount()})


@require_GET
def export(request: HttpRequest) -> HttpResponse:
    # Django streams what matches its server: asynchronous iterators under ASGI, plain ones under WSGI.
    lines = alines() if isinstance(request, ASGIRequest) else blocking_lines()
    return StreamingHttpResponse(lines, content_type="text/plain")


def blocking_lines() -> Iterator[str]:
    for note in Note.instances():
        yield f"{current_tenant()}\t{note.text.hget()}\n"


async def alines() -> AsyncIterator[str]:
    async for note in Note.instances():
        yield f"{current_tenant()}\t{await note.text.ahget()}\n"


@require_GET
def healthy(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")
