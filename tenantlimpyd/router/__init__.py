"""``DatabaseRouter``: tenant ids to databases, and the database of the current tenant."""

from __future__ import annotations

from tenantlimpyd.router.router import DatabaseRouter

__all__ = ["DatabaseRouter"]
