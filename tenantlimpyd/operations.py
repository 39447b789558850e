"""Operations: generators that yield commands as data, written once and run by a sync or an async driver."""

from __future__ import annotations

from tenantlimpyd._operations.steps import (
    Batch,
    Command,
    Operation,
    Reply,
    Resolves,
    Runner,
    Script,
    Step,
    Traits,
    Transaction,
    together,
    twins,
)

__all__ = [
    "Batch",
    "Command",
    "Operation",
    "Reply",
    "Resolves",
    "Runner",
    "Script",
    "Step",
    "Traits",
    "Transaction",
    "together",
    "twins",
]
