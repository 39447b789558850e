"""Log events on stderr, for people."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

__all__ = ["configure_logging"]


def configure_logging(*, verbose: bool) -> None:
    """Send log events to stderr.

    Args:
        verbose: all of them; else warnings and above, without those of failures that commands tell of themselves.
    """
    structlog.configure(
        processors=[
            *([] if verbose else [_told_by_commands]),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.WARNING),
        # The stream of the moment: a progress bar stands in for it while it is shown.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _told_by_commands(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    if event["event"] in ("tenant_failed", "breaker_opened"):
        raise structlog.DropEvent
    return event
