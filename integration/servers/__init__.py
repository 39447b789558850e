"""Real servers for the tests in ``integration/``: in containers, embedded, or given by URL."""

from integration.servers.chaosproxy import ChaosProxy, Faults
from integration.servers.choose import Choice, choose
from integration.servers.handle import ServerHandle
from integration.servers.source import NoServerError, ServerSource
from integration.servers.tls import Authority

__all__ = ["Authority", "ChaosProxy", "Choice", "Faults", "NoServerError", "ServerHandle", "ServerSource", "choose"]
