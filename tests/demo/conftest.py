"""Fixtures of the tests of the demo."""

from __future__ import annotations

from tests.cli.conftest import logging_as_before, no_environment, process

__all__ = ["logging_as_before", "no_environment", "process"]
