"""tenantlimpyd: a multi-tenant Redis object mapper. Models are bound to a router instead of a database."""

from __future__ import annotations

from tenantlimpyd._connections.breaker import BreakerPolicy
from tenantlimpyd._connections.budget import Budget, PoolStats
from tenantlimpyd._fanout.outcomes import ErrorPolicy, Outcome
from tenantlimpyd._operations.steps import Command, Script
from tenantlimpyd._scan.scan import AsyncTenantScan, TenantScan
from tenantlimpyd.context import TenantThreadPoolExecutor, carry_tenant, current_tenant
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.logs import add_tenant
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.health import HealthReport, Readiness, ReadinessResult, ServerHealth

__all__ = [
    "EXACT_VERSION",
    "VERSION",
    "AsyncTenantScan",
    "BreakerPolicy",
    "Budget",
    "Command",
    "DatabaseRouter",
    "ErrorPolicy",
    "HealthReport",
    "Outcome",
    "PoolStats",
    "Readiness",
    "ReadinessResult",
    "RedisDatabase",
    "Script",
    "ServerHealth",
    "TenantScan",
    "TenantThreadPoolExecutor",
    "__version__",
    "add_tenant",
    "carry_tenant",
    "current_tenant",
]

__version__ = "0.1.0"
EXACT_VERSION = __version__
"""limpyd's name for the version."""
VERSION = tuple(int(number) for number in EXACT_VERSION.split("."))
