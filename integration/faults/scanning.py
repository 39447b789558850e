"""A scan, in sync or async, during which a function is called after a number of keys."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal

import attrs

from integration.faults.tenants import COUNT
from tenantlimpyd import DatabaseRouter

__all__ = ["Form", "Mode", "ScanProgress", "run_scan"]

_PAUSE = 0.02
"""Seconds for which the consumer holds back a page of a tenant that has had enough, until all others have, too.

On a machine that is busy a tenant's own connection may come long after another's: else that one would be through by then.
"""

Mode = Literal["sync", "async"]
Form = Literal["keys", "pages"]


@attrs.define
class ScanProgress:
    """What a scan's consumer has had.

    Attributes:
        scan: the scan.
        seen: the keys of each tenant.
        keys: how many there were, those that came again included.
        happened: when it did, by the monotonic clock; 0: not yet.
        took: seconds from then to the end.
    """

    scan: Any
    seen: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    keys: int = 0
    happened: float = 0.0
    took: float = 0.0


async def run_scan(
    router: DatabaseRouter,
    mode: Mode,
    form: Form,
    after: tuple[Iterable[str], int],
    happen: Callable[[ScanProgress], object],
    **arguments: Any,
) -> ScanProgress:
    """Scan to the end, or until ``happen`` returns True.

    Until it happens, tenants that are ahead are held up, so that all of them are in the middle then.

    Args:
        router: whose tenants.
        mode: blocking, in this thread; or asyncio.
        form: whether keys are delivered one by one.
        after: tenants, and how many keys each of them must have had before it happens.
        happen: what does. In asyncio it runs in a thread, so that the event loop goes on.
        arguments: of the scan.
    """
    arguments = {"count": COUNT, "on_error": "collect", **arguments}
    scan = getattr(router, ("a" if mode == "async" else "") + f"scan_{form}")
    waiting, enough = set(after[0]), after[1]
    taken = ScanProgress(scan(**arguments))

    def ahead(tenant: str) -> bool:
        had = len(taken.seen[tenant])
        return bool(waiting) and had >= enough and (form == "pages" or had % COUNT == 0)

    def is_time(tenant: str, content: Any) -> bool:
        keys = (content,) if form == "keys" else content
        taken.keys += len(keys)
        seen = taken.seen[tenant]
        seen.update(keys)
        if tenant in waiting and len(seen) >= enough:
            waiting.discard(tenant)
            return not waiting
        return False

    def take() -> None:
        with taken.scan as scan:
            for tenant, content in scan:
                if is_time(tenant, content):
                    stop = happen(taken)
                    taken.happened = time.monotonic()
                    if stop is True:
                        break
                elif ahead(tenant):
                    time.sleep(_PAUSE)

    async def atake() -> None:
        async with taken.scan as scan:
            async for tenant, content in scan:
                if is_time(tenant, content):
                    stop = await asyncio.to_thread(happen, taken)
                    taken.happened = time.monotonic()
                    if stop is True:
                        break
                elif ahead(tenant):
                    await asyncio.sleep(_PAUSE)

    if mode == "sync":
        take()
    else:
        await atake()
    assert taken.happened, f"the scan was through before it happened; {sorted(waiting)} had too few keys"
    taken.took = time.monotonic() - taken.happened
    return taken
