"""The one error of the embedded server."""

from tenantlimpyd.exceptions import LimpydException

__all__ = ["EmbeddedServerError"]


class EmbeddedServerError(LimpydException):
    """The server was not found, did not start, or is not running. Where there is a log, the message ends with it."""
