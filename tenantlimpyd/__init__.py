"""tenantlimpyd: Redis models for services with tenants."""

from __future__ import annotations

from tenantlimpyd._connections.budget import Budget, PoolStats
from tenantlimpyd._fanout.outcomes import Outcome
from tenantlimpyd.context import TenantThreadPoolExecutor, carry_tenant, current_tenant
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.logs import add_tenant
from tenantlimpyd.router import DatabaseRouter

__all__ = [
    "EXACT_VERSION",
    "VERSION",
    "Budget",
    "DatabaseRouter",
    "Outcome",
    "PoolStats",
    "RedisDatabase",
    "TenantThreadPoolExecutor",
    "add_tenant",
    "carry_tenant",
    "current_tenant",
]

EXACT_VERSION = "0.1.0"
VERSION = tuple(int(number) for number in EXACT_VERSION.split("."))
