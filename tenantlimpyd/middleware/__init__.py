"""Middleware: the tenant of each HTTP request or websocket, for ASGI and WSGI applications.

``tenantlimpyd.middleware.asgi.TenantMiddleware`` and ``tenantlimpyd.middleware.wsgi.TenantMiddleware`` ask an ``identify``
function which tenant a request is for, and run the application inside that tenant. No web framework is needed.
"""

from __future__ import annotations

from tenantlimpyd.middleware.identify import AsyncIdentify, Identify, Request, from_header, from_path, from_subdomain

__all__ = ["AsyncIdentify", "Identify", "Request", "from_header", "from_path", "from_subdomain"]
