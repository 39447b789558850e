"""Tenants from a file: TOML, or a mapping of the same shape, to databases.

::

    [servers.main]
    url = "redis://redis-1:6379"
    password_env = "REDIS_PASSWORD"

    [tenants.acme]
    server = "main"
    db = 1

    [tenants.globex]
    host = "redis-2"
    key_prefix = "globex:"

What is wrong is told all at once, each mistake under the key it is at. No message holds a secret.
"""

from tenantlimpyd.config.build import databases

__all__ = ["databases"]
