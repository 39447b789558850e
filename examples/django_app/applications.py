"""What servers serve: ``wsgi`` or ``asgi``. ``uvicorn examples.django_app.applications:asgi``."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from examples.notes import router
from tenantlimpyd.middleware import asgi as tenants_asgi
from tenantlimpyd.middleware import from_header
from tenantlimpyd.middleware import wsgi as tenants_wsgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_app.settings")

wsgi = tenants_wsgi.TenantMiddleware(
    get_wsgi_application(), router=router, identify=from_header("X-Tenant-ID"), exempt=("/healthz",)
)
asgi = tenants_asgi.TenantMiddleware(
    get_asgi_application(), router=router, identify=from_header("X-Tenant-ID"), exempt=("/healthz",)
)
