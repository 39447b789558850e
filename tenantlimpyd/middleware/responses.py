"""The HTTP responses of the middleware itself. They contain nothing of the request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import attrs

__all__ = ["INVALID_TENANT", "NO_TENANT", "UNKNOWN_TENANT", "WEBSOCKET_CLOSE_CODE", "ErrorResponse", "JsonResponse"]

WEBSOCKET_CLOSE_CODE = 1008
"""Policy violation. A server that gets this code before the handshake is complete answers the client with 403."""


@attrs.frozen
class JsonResponse:
    """An HTTP response with a JSON object as its body, not to be stored by caches.

    Attributes:
        status: the HTTP status.
        content: the JSON object.
    """

    status: HTTPStatus
    content: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """The JSON text."""
        return json.dumps(self.content).encode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The response headers.

        ``no-store`` because a cache may keep a 404, and does not know that the response depends on the tenant.
        """
        return [
            ("content-type", "application/json"),
            ("content-length", str(len(self.body))),
            ("cache-control", "no-store"),
        ]


@attrs.frozen
class ErrorResponse:
    """The refusal of a request: ``{"error": code, "detail": sentence}``.

    Attributes:
        status: the HTTP status.
        code: the reason, for programs.
        detail: the reason, for people.
    """

    status: HTTPStatus
    code: str
    detail: str

    def as_json(self) -> JsonResponse:
        """Return the HTTP response."""
        return JsonResponse(self.status, {"error": self.code, "detail": self.detail})


NO_TENANT = ErrorResponse(HTTPStatus.BAD_REQUEST, "no_tenant", "The request does not name a tenant.")
INVALID_TENANT = ErrorResponse(
    HTTPStatus.BAD_REQUEST, "invalid_tenant", "The tenant named in the request is not one well-formed tenant id."
)
UNKNOWN_TENANT = ErrorResponse(HTTPStatus.NOT_FOUND, "unknown_tenant", "There is no such tenant.")
