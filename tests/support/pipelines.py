"""Helpers of the tests of pipelines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any


@contextlib.asynccontextmanager
async def piped(call: Any, host: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
    """Enter a pipeline of a database or router, in sync or async."""
    if call.is_async:
        async with host.apipeline(*args, **kwargs) as pipe:
            yield pipe
    else:
        with host.pipeline(*args, **kwargs) as pipe:
            yield pipe
