"""A certificate authority of the tests' own, for a proxy that serves TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """Issues certificates for loopback.

    Args:
        directory: where ``ca.pem`` goes.

    Attributes:
        ca_file: the path of the certificate that clients should trust.
    """

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.ca_file = str(directory / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def server_context(self, *names: str) -> ssl.SSLContext:
        """A context for a server known by ``names``; for 127.0.0.1 and localhost where none are given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
        return context

    @property
    def client_settings(self) -> dict[str, object]:
        """Arguments for ``RedisDatabase`` or ``redis.Redis`` that speak TLS and trust this authority only."""
        return {"ssl": True, "ssl_ca_certs": self.ca_file}
