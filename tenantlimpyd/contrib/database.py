"""``PipelineDatabase``: limpyd's name for a database with pipelines."""

from __future__ import annotations

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.pipelines import Pipeline

__all__ = ["Pipeline", "PipelineDatabase"]

_Pipeline = Pipeline
"""As limpyd calls it."""


class PipelineDatabase(RedisDatabase):
    """A Redis database with pipelines. So is every ``RedisDatabase`` here; applications moving from limpyd know this name."""
