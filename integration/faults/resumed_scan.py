"""Resume a scan in another process, which reads its input and prints its result as JSON."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tenantlimpyd import DatabaseRouter, RedisDatabase

__all__ = ["resumed"]


def resumed(settings: dict[str, dict[str, Any]], token: str, mode: str, *, count: int) -> dict[str, Any]:
    """Go on with a scan in another process.

    Args:
        settings: those of each tenant's database.
        token: the scan's place.
        mode: ``blocking`` or ``asyncio``.
        count: keys of a page.

    Returns:
        ``found``, the keys of each tenant; ``outcomes``, for each that was run_scan, whether it is complete, and how often it
        was begun again.
    """
    order = {"settings": settings, "token": token, "mode": mode, "count": count}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", __name__],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


async def _pages(router: DatabaseRouter, mode: str, **arguments: Any) -> tuple[list[Any], Any]:
    if mode == "sync":
        scan = router.scan_pages(**arguments)
        return list(scan), scan
    ascan = router.ascan_pages(**arguments)
    pages = [page async for page in ascan]
    await router.aclose()
    return pages, ascan


def _main() -> None:
    order = json.load(sys.stdin)
    databases = {tenant: RedisDatabase(**settings) for tenant, settings in order["settings"].items()}
    found: dict[str, list[str]] = defaultdict(list)
    with DatabaseRouter(databases) as router:
        pages, scan = asyncio.run(
            _pages(router, order["mode"], resume=order["token"], count=order["count"], on_error="collect")
        )
    for tenant, keys in pages:
        found[tenant] += keys
    outcomes = {tenant: [outcome.ok, outcome.restarts] for tenant, outcome in scan.outcomes.items()}
    json.dump({"found": found, "outcomes": outcomes}, sys.stdout)


if __name__ == "__main__":
    _main()
