"""Work over many databases at once: bounded, each tenant's failure kept apart. Knows databases, not routers."""

from __future__ import annotations

from tenantlimpyd.fanout.calling import acall_all, call_all
from tenantlimpyd.fanout.outcomes import ErrorPolicy, Job, Outcome
from tenantlimpyd.fanout.spread import afan_out, fan_out
from tenantlimpyd.fanout.walks import AsyncWalk, Walk

__all__ = ["AsyncWalk", "ErrorPolicy", "Job", "Outcome", "Walk", "acall_all", "afan_out", "call_all", "fan_out"]
