"""The error of the embedded server."""

from tenantlimpyd.exceptions import LimpydException

__all__ = ["EmbeddedServerError"]


class EmbeddedServerError(LimpydException):
    """Raised if a server binary is missing, does not start, or is not running. The message ends with the server's log."""
