"""``tenantlimpyd check``: can every tenant be reached, and does nobody share keys?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from tenantlimpyd._fanout.outcomes import Outcome
from tenantlimpyd.cli.options import AsJson, Config, Tenants, Timeout, Verbose, open_router
from tenantlimpyd.cli.output import FAILED, cell, console, counted, reporting, table, warn
from tenantlimpyd.cli.tenants import places
from tenantlimpyd.router.checks import Problem, ServerFacts, problems

__all__ = ["check"]

Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Fail also where aliases of a server can't be told, or its transactions are not used."
    ),
]
_WARNINGS = ("unverified", "no-transactions")


def check(
    ctx: typer.Context,
    *,
    config: Config = None,
    tenant: Tenants = None,
    timeout: Timeout = 5.0,
    strict: Strict = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Ask every tenant's server: can it be reached, which version is it, do two tenants share keys under two names?

    The exit code is 1 if something is wrong.
    """
    with reporting(), open_router(ctx, config, verbose=verbose) as router:
        jobs = router._jobs(tenant or None, allow_switch=False)
        outcomes = router._probe(tenants=[job.tenant for job in jobs], timeout=timeout)
        found = problems(jobs, outcomes)
        serious = [problem for problem in found if strict or problem.kind not in _WARNINGS]
        where = places(router)
        facts = [{"tenant": job.tenant, **where[job.tenant], **_facts(outcomes[job.tenant])} for job in jobs]
        if as_json:
            told = [{"kind": problem.kind, "tenants": problem.tenants, "message": str(problem)} for problem in found]
            print(json.dumps({"ok": not serious, "tenants": facts, "problems": told}))
        else:
            _show(facts, found, serious)
        if serious:
            raise typer.Exit(FAILED)


def _facts(outcome: Outcome[ServerFacts]) -> dict[str, Any]:
    """Return what a server said of itself, or why it said nothing."""
    facts = outcome.value
    return {
        "reached": outcome.ok,
        "product": facts.name if facts else "",
        "version": facts.version if facts else "",
        "seconds": round(outcome.seconds, 6),
        "error": None if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}",
    }


def _show(facts: Sequence[dict[str, Any]], found: Sequence[Problem], serious: Sequence[Problem]) -> None:
    concerned = {tenant: problem.kind for problem in reversed(serious) for tenant in problem.tenants}
    rows = [
        (
            fact["tenant"],
            fact["server"],
            fact["db"],
            fact["prefix"],
            f"{fact['product']} {fact['version']}".strip(),
            f"{fact['seconds'] * 1000:.1f}",
            cell(concerned[fact["tenant"]], "red") if fact["tenant"] in concerned else Text("ok", style="green"),
        )
        for fact in facts
    ]
    columns = ("tenant", "server", "db", "key prefix", "version", "ms", "state")
    console().print(table(counted(len(rows), "tenant"), columns, rows, right=("db", "ms")))
    for problem in found:
        warn(str(problem), style="red" if problem in serious else "yellow")
