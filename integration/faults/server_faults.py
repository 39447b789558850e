"""Faults of a server and of the network to it, during a scan."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import attrs

from tests.support.servers import ChaosProxy, ServerHandle

__all__ = ["SERVER_FAULTS", "ServerFault"]

Act = Callable[[ServerHandle, ChaosProxy], object]
End = Literal["whole", "either", "failed"]
AWAY = 0.4
"""Seconds that a short absence takes."""


@attrs.frozen
class ServerFault:
    """Something that happens once.

    Attributes:
        begin: does it.
        end: undoes what still is; harmless where nothing is.
        ends: what becomes of tenants that the scan is in the middle of: ``whole``, they are complete without a new scan;
            ``failed``; or ``either``: complete after all, or failed.
        timeout: seconds each tenant has; short only where it is waited for.
        within: seconds in which a scan is through, however busy the machine is.
        keeps: the server must keep its keys over a restart.
        loses: the server loses its keys.
        restarts: another process answers afterwards.
    """

    begin: Act
    end: Act = lambda _server, _proxy: None
    ends: End = "whole"
    timeout: float = 20.0
    within: float = 20.0
    keeps: bool = False
    loses: bool = False
    restarts: bool = False


def _later(act: Callable[[], object]) -> None:
    timer = threading.Timer(AWAY, act)
    timer.name = "a fault's end"
    timer.daemon = True
    timer.start()


def _pause_briefly(server: ServerHandle, _: ChaosProxy) -> None:
    server.pause()
    _later(server.resume)


def _refuse_briefly(_: ServerHandle, proxy: ChaosProxy) -> None:
    proxy.refuse()
    _later(proxy.accept)


def _kill_clients(server: ServerHandle, _: ChaosProxy) -> None:
    with server.client() as client:
        assert client.client_kill_filter(_type="normal", skipme=True) >= 1


def _heal(_: ServerHandle, proxy: ChaosProxy) -> None:
    proxy.reset()
    proxy.heal()


DEADLINE = 2.0

SERVER_FAULTS: dict[str, ServerFault] = {
    "killed": ServerFault(lambda server, _: server.kill(), lambda server, _: server.start(), "failed", within=8.0),
    "restarted": ServerFault(lambda server, _: server.restart(), ends="either", keeps=True, restarts=True),
    "restarted empty": ServerFault(lambda server, _: server.restart(), ends="either", loses=True, restarts=True),
    "paused": ServerFault(
        lambda server, _: server.pause(), lambda server, _: server.resume(), "failed", DEADLINE, DEADLINE + 4
    ),
    "paused briefly": ServerFault(_pause_briefly),
    "refusing": ServerFault(lambda _, proxy: proxy.refuse(), lambda _, proxy: proxy.accept(), "failed", within=8.0),
    "refusing briefly": ServerFault(_refuse_briefly, ends="either"),
    "a black hole": ServerFault(lambda _, proxy: proxy.swallow(), _heal, "failed", DEADLINE, DEADLINE + 4),
    "replies lost": ServerFault(
        lambda _, proxy: proxy.disturb(lose_replies=True), _heal, "failed", DEADLINE, DEADLINE + 4
    ),
    "reset": ServerFault(lambda _, proxy: proxy.reset()),
    "hung up": ServerFault(lambda _, proxy: proxy.hang_up()),
    "reset in mid-reply": ServerFault(lambda _, proxy: proxy.disturb(cut_reply_after=1001, cut_by_reset=True)),
    "hung up in mid-reply": ServerFault(lambda _, proxy: proxy.disturb(cut_reply_after=1001)),
    "clients killed": ServerFault(_kill_clients),
}
