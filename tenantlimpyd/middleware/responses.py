"""What a request is answered that is not for the application. Nothing of the request is in it."""

from __future__ import annotations

import json
from http import HTTPStatus

import attrs

__all__ = ["INVALID_TENANT", "NO_TENANT", "UNKNOWN_TENANT", "WEBSOCKET_CLOSE_CODE", "ErrorResponse"]

WEBSOCKET_CLOSE_CODE = 1008
"""Policy violation. A server that is told so before the handshake ends answers it with 403."""


@attrs.frozen
class ErrorResponse:
    """A reply in JSON: ``{"error": code, "detail": sentence}``.

    Attributes:
        status: the HTTP status.
        code: for programs.
        detail: for people.
    """

    status: HTTPStatus
    code: str
    detail: str

    @property
    def body(self) -> bytes:
        """The JSON text."""
        return json.dumps({"error": self.code, "detail": self.detail}).encode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of the reply. Caches may keep a 404, and don't see that another tenant would get something else."""
        return [
            ("content-type", "application/json"),
            ("content-length", str(len(self.body))),
            ("cache-control", "no-store"),
        ]


NO_TENANT = ErrorResponse(HTTPStatus.BAD_REQUEST, "no_tenant", "The request does not say which tenant it is for.")
INVALID_TENANT = ErrorResponse(
    HTTPStatus.BAD_REQUEST, "invalid_tenant", "What the request says about its tenant is not one well-formed tenant id."
)
UNKNOWN_TENANT = ErrorResponse(HTTPStatus.NOT_FOUND, "unknown_tenant", "There is no such tenant.")
