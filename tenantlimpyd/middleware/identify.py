"""Functions that find the tenant of a request, and the view of the request that they read, for ASGI and WSGI alike."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError, shown

__all__ = ["AsyncIdentify", "Identify", "Request", "from_header", "from_path", "from_subdomain"]

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}?)\.?(?::[0-9]{0,5})?")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")


@attrs.define(eq=False, repr=False)
class Request:
    """The read-only view of a request that an ``identify`` function receives.

    Attributes:
        path: the decoded path, relative to the mount point of the application. Bytes that are not UTF-8 are surrogates under
            WSGI, and as the server decoded them under ASGI.
        native: the ASGI scope or the WSGI environ, for what the view does not have.
    """

    path: str
    native: Mapping[str, Any]
    _values: Callable[[str], tuple[str, ...]]
    _mounted: str = attrs.field(default="", init=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of the path {shown(self.path)}>"  # without headers, which may hold secrets

    def headers(self, name: str) -> tuple[str, ...]:
        """Return all values of a header, decoded as Latin-1.

        WSGI servers join the values of a repeated header with commas.

        Args:
            name: the header's name, in upper or lower case.
        """
        return self._values(name)

    def header(self, name: str) -> str | None:
        """Return the value of a header that may occur once, or None if the request does not have it.

        Args:
            name: the header's name, in upper or lower case.

        Raises:
            InvalidTenantError: If the header occurs more than once, contains a comma (with which WSGI servers join values),
                or contains anything but printable ASCII.
        """
        values = self._values(name)
        if not values:
            return None
        if len(values) > 1 or "," in values[0]:
            raise InvalidTenantError(f"the header {name} must occur once, with one value")
        return _printable(values[0], f"the header {name}")

    @property
    def host(self) -> str | None:
        """The name in the ``Host`` header in lower case, without port and final dot, or None if there is no such header.

        Raises:
            InvalidTenantError: If the header occurs more than once or is not a host name, such as an IPv6 address.
        """
        value = self.header("Host")
        if value is None:
            return None
        if (match := _HOST.fullmatch(value)) is None:
            raise InvalidTenantError("the Host header is not a host name", shown(value))
        return match[1].lower()

    @property
    def mounted(self) -> str:
        """The part of the path given to :meth:`mount`, or an empty text."""
        return self._mounted

    def mount(self, part: str) -> None:
        """Move the beginning of the path to the application's ``root_path`` or ``SCRIPT_NAME``.

        The application then routes the rest of the path, and the URLs it makes begin with ``part``.

        Args:
            part: the first segment or segments of ``path``, such as ``"/acme"``.

        Raises:
            ValueError: If ``path`` does not begin with these segments.
        """
        if not (part.startswith("/") and f"{self.path}/".startswith(f"{part}/")):
            raise ValueError(f"the path {shown(self.path)} does not begin with the segments {shown(part)}")
        self._mounted = part


Identify: TypeAlias = Callable[[Request], str | None]
"""A function that returns the tenant id of a request, or None if the request names no tenant.

It may raise ``InvalidTenantError`` (the request is answered with 400) and ``UnknownTenantError`` (with 404). Other
exceptions propagate to the server.
"""

AsyncIdentify: TypeAlias = Callable[[Request], str | Awaitable[str | None] | None]
"""As :data:`Identify`, or a coroutine function, for ASGI."""


def from_header(name: str) -> Identify:
    """Return a function that takes the tenant id from a header.

    A client can send any header. Use this behind an authenticating gateway that sets the header, or check that the user may
    act for the tenant.

    Args:
        name: the header's name, such as ``"X-Tenant-ID"``.

    Raises:
        ConfigurationError: If the name is not made of letters, digits and hyphens.
    """
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ConfigurationError(
            f"a header name has letters, digits and hyphens, such as 'X-Tenant-ID', not {shown(name)}"
        )

    def identify(request: Request) -> str | None:
        return request.header(name)

    return identify


def from_subdomain(domain: str) -> Identify:
    """Return a function that takes the tenant id from the host name: ``acme`` from ``acme.example.com``.

    Host names do not distinguish upper and lower case, so the id is in lower case. The domain itself and other hosts name
    no tenant. More than one label in front of the domain is malformed.

    Args:
        domain: the part of the host name after the tenant, such as ``"example.com"``.

    Raises:
        ConfigurationError: If it is not a domain name without port. An international name must be in its ``xn--`` form.
    """
    parent = domain.lower().removeprefix(".").removesuffix(".") if isinstance(domain, str) else ""
    if not _DOMAIN.fullmatch(parent):
        raise ConfigurationError(f"a domain is a host name without port, such as 'example.com', not {shown(domain)}")

    def identify(request: Request) -> str | None:
        host = request.host
        if host is None or not host.endswith(f".{parent}"):
            return None
        tenant = host.removesuffix(f".{parent}")
        if "." in tenant:
            raise InvalidTenantError(f"a tenant's host is one label in front of {parent}", shown(tenant))
        return tenant

    return identify


def from_path(prefix: str = "/") -> Identify:
    """Return a function that takes the tenant id from the path: ``acme`` from ``/acme/notes``.

    The application is mounted at ``/acme`` then, and sees the path ``/notes``.

    Args:
        prefix: the path before the tenant: ``"/t"`` for paths such as ``/t/acme/notes``. Other paths name no tenant.

    Raises:
        ConfigurationError: If the prefix does not begin with a slash.
    """
    if not isinstance(prefix, str) or not prefix.startswith("/"):
        raise ConfigurationError(f"a prefix is a path that begins with a slash, such as '/t', not {shown(prefix)}")
    start = f"{prefix.rstrip('/')}/"

    def identify(request: Request) -> str | None:
        if not request.path.startswith(start):
            return None
        tenant = request.path[len(start) :].partition("/")[0]
        if not tenant:
            return None
        request.mount(f"{start}{tenant}")
        return _printable(tenant, "the path")

    return identify


def _printable(value: str, where: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    raise InvalidTenantError(f"the tenant id in {where} must be printable ASCII", shown(value))
