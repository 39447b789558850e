"""The demo: several tenants, served over HTTP, from nothing. ``tenantlimpyd demo`` runs it; it needs the extra ``demo``."""

from tenantlimpyd.demo.story import run

__all__ = ["run"]
