"""What one process of the stress test does."""

from __future__ import annotations

import warnings

from integration.isolation.desk import Tally
from integration.isolation.keyspaces import Plot, make_router
from integration.isolation.workloads import run_all

__all__ = ["Report", "work"]

Report = tuple[dict[str, int], dict[str, int], list[str], int]


def work(plots: list[Plot], torn: list[Plot], plan: dict[str, int], seed: int) -> Report:
    """Run the workloads; those named ``torn`` on tenants of their own. Returns what the tally holds, as plain data."""
    warnings.simplefilter("error")
    tallies: list[Tally] = []
    for there, kinds in ((plots, plan.keys() - {"torn"}), (torn, plan.keys() & {"torn"})):
        with make_router(there) as router:
            tenants = [plot.tenant for plot in there]
            ours = {kind: operations for kind, operations in plan.items() if kind in kinds}
            tallies.append(run_all(router, ours, tenants, seed))
    first, second = tallies
    return (
        dict(first.checked + second.checked),
        dict(first.hits + second.hits),
        first.strays + second.strays,
        first.lost + second.lost,
    )
