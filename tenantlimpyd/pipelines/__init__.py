"""Pipelines: queue operations, and execute them together.

Inside ``with database.pipeline() as pipe``, ``database.run(operation)`` appends the operation to the pipeline's queue and
returns the pipeline in place of a result. ``pipe.execute()`` executes the queue in rounds:

1. The steps that only prepare are sent in one round trip: the look-up of a lazy object, the allocation of a pk, a random
   choice.
2. Then the main step of every operation is sent, in the order in which they were queued, in one round trip. With
   ``transaction=True`` they are one MULTI/EXEC.
3. An indexed write whose guards were not the stored values has written nothing. It is computed again and takes another
   round.

Most pipelines take one or two round trips. Operations of one object keep their order: those that follow its creation or
deletion wait until it is done.

The pipeline of an operation is chosen when the method is called. It is the innermost pipeline of the same database that
the current task has entered, or the current thread outside of tasks.
"""

from __future__ import annotations

from tenantlimpyd.pipelines.active import active
from tenantlimpyd.pipelines.host import PipelineHost
from tenantlimpyd.pipelines.pipeline import Pipeline

__all__ = ["Pipeline", "PipelineHost", "active"]
