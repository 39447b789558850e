"""Tenant ids: what one looks like, and what is said of anything else."""

from __future__ import annotations

import re

from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError, shown

__all__ = ["DEFAULT_GRAMMAR", "checked", "compiled"]

DEFAULT_GRAMMAR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""1 to 128 of ``A-Z a-z 0-9 . _ -``, starting with a letter or digit."""


def compiled(grammar: str | re.Pattern[str]) -> re.Pattern[str]:
    """Return a grammar as a pattern; the whole id must match it.

    Raises:
        ConfigurationError: it is no regular expression.
    """
    try:
        pattern = re.compile(grammar)
    except (re.error, TypeError) as error:
        raise ConfigurationError(f"the grammar of tenant ids is no regular expression: {error}") from None
    if not isinstance(pattern.pattern, str):
        raise ConfigurationError("the grammar of tenant ids must be a pattern for text, not for bytes")
    return pattern


def checked(tenant: object, grammar: re.Pattern[str]) -> str:
    """Return ``tenant`` if it is a tenant id.

    Raises:
        InvalidTenantError: it is not.
    """
    if isinstance(tenant, str) and grammar.fullmatch(tenant):
        return tenant
    if grammar is DEFAULT_GRAMMAR:
        rule = "1 to 128 of A-Z a-z 0-9 . _ - and starts with a letter or digit"
    else:
        rule = f"text that matches {grammar.pattern!r} as a whole"
    raise InvalidTenantError(f"{shown(tenant)} is no tenant id: an id is {rule}.", shown(tenant))
