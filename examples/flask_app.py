"""Notes with Flask: everything blocks. ``flask --app examples.flask_app run``, or ``python -m examples flask``."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, Response, jsonify, request

from examples.notes import Note, as_dict, checked_text, router
from tenantlimpyd import current_tenant
from tenantlimpyd.middleware.wsgi import TenantMiddleware, from_header

app = Flask(__name__)
app.wsgi_app = TenantMiddleware(  # type: ignore[method-assign] - Flask's own way to add one
    app.wsgi_app, router=router, identify=from_header("X-Tenant-ID"), exempt=("/healthz",)
)


@app.post("/notes")
def create() -> tuple[Response, int]:
    try:
        text = checked_text(request.get_json())
    except ValueError as error:
        return jsonify(error="invalid_note", detail=str(error)), 422
    return jsonify(as_dict(Note(text=text))), 201


@app.get("/notes")
def listing() -> Response:
    return jsonify([as_dict(note) for note in Note.instances()[:100]])


@app.get("/export")
def export() -> Response:
    def lines() -> Iterator[str]:  # runs while the server sends it, after this function returned
        for note in Note.instances():
            yield f"{current_tenant()}\t{note.text.hget()}\n"

    return Response(lines(), mimetype="text/plain")


@app.get("/healthz")
def healthy() -> str:
    return "ok"
