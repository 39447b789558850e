"""tenantlimpyd: Redis models for services with tenants."""

from __future__ import annotations

from tenantlimpyd.budget import Budget, Gauges
from tenantlimpyd.context import TenantThreadPoolExecutor, carry_tenant, current_tenant
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.fanout import Outcome
from tenantlimpyd.logs import add_tenant
from tenantlimpyd.router import DatabaseRouter

__all__ = [
    "EXACT_VERSION",
    "VERSION",
    "Budget",
    "DatabaseRouter",
    "Gauges",
    "Outcome",
    "RedisDatabase",
    "TenantThreadPoolExecutor",
    "add_tenant",
    "carry_tenant",
    "current_tenant",
]

EXACT_VERSION = "0.1.0"
VERSION = tuple(int(number) for number in EXACT_VERSION.split("."))
