"""Middleware for ASGI and WSGI applications: it enters the tenant of each HTTP request or websocket.

``tenantlimpyd.middleware.asgi.TenantMiddleware`` and ``tenantlimpyd.middleware.wsgi.TenantMiddleware`` call an ``identify``
function to find the tenant of a request, and run the application inside that tenant. No web framework is needed.
"""

from __future__ import annotations

from tenantlimpyd.middleware.identify import AsyncIdentify, Identify, Request, from_header, from_path, from_subdomain

__all__ = ["AsyncIdentify", "Identify", "Request", "from_header", "from_path", "from_subdomain"]
