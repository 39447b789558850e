"""What users may write at the edges: middleware, executors, errors."""

from typing import assert_type

from tenantlimpyd import DatabaseRouter
from tenantlimpyd.context import carry_tenant
from tenantlimpyd.exceptions import FanOutError, LimpydException, TenantError, UnknownTenantError
from tenantlimpyd.middleware import asgi, from_header, from_path, from_subdomain, wsgi


def asgi_applications_are_wrapped(app: asgi.ASGIApp, router: DatabaseRouter) -> asgi.ASGIApp:
    asgi.TenantMiddleware(app, router=router, identify=from_subdomain("example.com"))
    asgi.TenantMiddleware(app, identify=from_header("X-Tenant-ID"))  # type: ignore[call-arg]
    return asgi.TenantMiddleware(app, router=router, identify=from_header("X-Tenant-ID"))


def wsgi_applications_are_wrapped(app: wsgi.WSGIApplication, router: DatabaseRouter) -> wsgi.WSGIApplication:
    wsgi.TenantMiddleware(app, router="acme", identify=from_path())  # type: ignore[arg-type]
    return wsgi.TenantMiddleware(app, router=router, identify=from_path())


def health_is_told(app: asgi.ASGIApp, other: wsgi.WSGIApplication, router: DatabaseRouter) -> None:
    asgi_app: asgi.ASGIApp = asgi.HealthMiddleware(app, router=router, ready=asgi.Readiness.all())
    wsgi_app: wsgi.WSGIApplication = wsgi.HealthMiddleware(other, router=router, ready=wsgi.Readiness.none(), keep=5)
    asgi_app = asgi.health_app(router, ready=asgi.Readiness.quorum(1))
    wsgi_app = wsgi.health_app(router, ready=wsgi.Readiness.named("acme"))
    asgi.HealthMiddleware(app, router=router, ready="all")  # type: ignore[arg-type]


def add(left: int, right: int) -> int:
    return left + right


def carried_functions_keep_their_types() -> None:
    carried = carry_tenant(add)
    assert_type(carried(1, right=2), int)
    carried("1", 2)  # type: ignore[arg-type]


def errors_have_one_root(error: UnknownTenantError, many: FanOutError) -> None:
    tenant_error: TenantError = error
    root: LimpydException = many
    print(error.tenant)
    for one in many.exceptions:
        print(one)
