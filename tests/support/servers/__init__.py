"""Start real servers: in containers, embedded, or given by URL."""

from tests.support.chaos_proxy import ChaosProxy, Faults
from tests.support.servers.choose import Choice, choose
from tests.support.servers.handle import ServerHandle
from tests.support.servers.source import NoServerError, ServerSource
from tests.support.tls import Authority

__all__ = ["Authority", "ChaosProxy", "Choice", "Faults", "NoServerError", "ServerHandle", "ServerSource", "choose"]
