"""Which tenant a request is for: a view of the request that ASGI and WSGI share, and three ways to read it."""

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
    """What an ``identify`` function may look at.

    Attributes:
        path: the decoded path below the place where the application is mounted. Bytes that are not UTF-8 are
            surrogates under WSGI, and what the server made of them under ASGI.
        native: the ASGI scope or the WSGI environ, to read what the view does not have.
    """

    path: str
    native: Mapping[str, Any]
    _values: Callable[[str], tuple[str, ...]]
    _mounted: str = attrs.field(default="", init=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of the path {shown(self.path)}>"  # headers could hold secrets

    def headers(self, name: str) -> tuple[str, ...]:
        """Return all values of a header, in any case of its name; each byte is one character (Latin-1).

        WSGI servers join the values of a header that is repeated, with a comma.
        """
        return self._values(name)

    def header(self, name: str) -> str | None:
        """Return the value of a header that may be there once; None: it isn't there.

        Raises:
            InvalidTenantError: it is there more than once, or holds a comma (which is how WSGI servers join values), or
                something else than printable ASCII.
        """
        values = self._values(name)
        if not values:
            return None
        if len(values) > 1 or "," in values[0]:
            raise InvalidTenantError(f"the header {name} must be there once, with one value")
        return _plain(values[0], f"the header {name}")

    @property
    def host(self) -> str | None:
        """The name in the ``Host`` header, in lower case, without port and final dot; None: there is none.

        Raises:
            InvalidTenantError: the header is there more than once, or is no host name. An IPv6 address is none.
        """
        value = self.header("Host")
        if value is None:
            return None
        if (match := _HOST.fullmatch(value)) is None:
            raise InvalidTenantError("the Host header is no host name", shown(value))
        return match[1].lower()

    @property
    def mounted(self) -> str:
        """What :meth:`mount` was given, or an empty text."""
        return self._mounted

    def mount(self, part: str) -> None:
        """Move the beginning of the path to the application's ``root_path`` or ``SCRIPT_NAME``.

        The application then routes what follows, and the URLs it makes begin with ``part``.

        Args:
            part: a beginning of ``path``, whole segments, such as ``"/acme"``.

        Raises:
            ValueError: the path does not begin so.
        """
        if not (part.startswith("/") and f"{self.path}/".startswith(f"{part}/")):
            raise ValueError(f"{shown(part)} is no beginning of the path {shown(self.path)} in whole segments")
        self._mounted = part


Identify: TypeAlias = Callable[[Request], str | None]
"""Returns the tenant id of a request, or None: the request names no tenant.

It may raise ``InvalidTenantError`` (the request is answered with 400) and ``UnknownTenantError`` (with 404). Other
exceptions go to the server.
"""

AsyncIdentify: TypeAlias = Callable[[Request], str | Awaitable[str | None] | None]
"""As :data:`Identify`, or a coroutine function: for ASGI."""


def from_header(name: str) -> Identify:
    """Take the tenant id from a header.

    Anybody can send any header. Use this behind something that sets it, such as an authenticating gateway, or check that
    the user may act for the tenant.

    Args:
        name: the header's name, such as ``"X-Tenant-ID"``.

    Raises:
        ConfigurationError: not a name of letters, digits and hyphens.
    """
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ConfigurationError(f"a header is letters, digits and hyphens, such as 'X-Tenant-ID', not {shown(name)}")

    def identify(request: Request) -> str | None:
        return request.header(name)

    return identify


def from_subdomain(domain: str) -> Identify:
    """Take the tenant id from the host name: ``acme`` from ``acme.example.com``.

    Host names are the same in upper and lower case, so the id is in lower case. The domain itself and other hosts name
    no tenant; more than one label in front of the domain is malformed.

    Args:
        domain: what follows the tenant, such as ``"example.com"``.

    Raises:
        ConfigurationError: not a domain name. A port doesn't belong to it; an international name is written in its
            ``xn--`` form.
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
    """Take the tenant id from the path: ``acme`` from ``/acme/notes``, where the application then sees ``/notes``.

    Args:
        prefix: the path in front of the tenant: with ``"/t"`` it is ``/t/acme/notes``. Other paths name no tenant.

    Raises:
        ConfigurationError: not a path that begins with a slash.
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
        return _plain(tenant, "the path")

    return identify


def _plain(value: str, where: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    raise InvalidTenantError(f"the tenant id in {where} must be printable ASCII", shown(value))
