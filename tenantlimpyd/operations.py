"""Operations: conversations with Redis as generators of steps, written once and run blocking or awaiting."""

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
    "Transaction",
    "together",
    "twins",
]
