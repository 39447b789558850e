"""Pipelines: operations kept back, and carried out together.

How operations queue: inside ``with database.pipeline() as pipe``, ``database.run(operation)`` gives the operation, not
yet begun or waiting at its first step, to the pipeline, which is returned in place of a result. ``pipe.execute()`` carries
them out in rounds. First come the steps that only prepare (a look-up of a lazy object, a new pk, a random pick), as one
trip; then, when every operation is at the step it was made for, all these steps, in the order they were queued, as one
trip and with ``transaction=True`` as one MULTI/EXEC. Most pipelines are one or two trips. An indexed write that was
computed from values that are no longer stored writes nothing and takes another round. Operations of one object keep
their order: those after its creation or deletion wait until that is done.

Which pipeline an operation belongs to is decided when it is called: the innermost one of its database that this task (or
outside of tasks this thread) has entered. Nothing is queued anywhere else.
"""

from __future__ import annotations

from tenantlimpyd.pipelines.active import active
from tenantlimpyd.pipelines.host import PipelineHost
from tenantlimpyd.pipelines.pipeline import Pipeline

__all__ = ["Pipeline", "PipelineHost", "active"]
