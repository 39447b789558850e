"""Work over all tenants of a router: scans and fan-outs."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from tenantlimpyd._fanout.commands import acall_all, call_all
from tenantlimpyd._fanout.functions import DEFAULT_TIMEOUT, afan_out, checked_function, fan_out
from tenantlimpyd._fanout.multiplex.command_call import checked_step
from tenantlimpyd._fanout.outcomes import ErrorPolicy, Job, Outcome, checked_policy, checked_seconds
from tenantlimpyd._fanout.plan import checked_concurrency
from tenantlimpyd._operations.steps import Command, Script
from tenantlimpyd._scan.dedup import checked_unique
from tenantlimpyd._scan.resume_token import ResumeToken, request_digest
from tenantlimpyd._scan.scan import AsyncTenantScan, ScanRequest, TenantScan

if TYPE_CHECKING:
    from tenantlimpyd.database import RedisDatabase

__all__ = ["DEFAULT_CONCURRENCY", "BulkOperations"]

T = TypeVar("T")

DEFAULT_CONCURRENCY = 32
"""Tenants visited at once, over all servers."""


def _keys(tenant: str, page: list[str]) -> Iterable[tuple[str, str]]:
    return zip(repeat(tenant), page)


def _page(tenant: str, page: list[str]) -> Iterable[tuple[str, list[str]]]:
    return ((tenant, page),)


class TenantScanOptions(TypedDict, total=False):
    """The keyword arguments of all scans of a router; :meth:`~tenantlimpyd.DatabaseRouter.scan_keys` describes them."""

    tenants: Iterable[str] | None
    on_error: ErrorPolicy
    timeout: float | None
    concurrency: int
    allow_switch: bool
    unique: bool | int
    resume: str | None


class BulkOperations:
    """The part of a router that works over many tenants.

    All of it takes ``tenants`` (ids; None: all that the router knows), ``on_error``, ``timeout`` (seconds for each tenant,
    which win over redis-py's own timeouts and retries), ``concurrency`` (tenants at once; at most 8 on one server), and
    ``allow_switch``: without it, a request that has a tenant is refused all others.

    ``on_error`` is ``"defer"`` (finish the others, then raise ``FanOutError``), ``"raise"`` (stop at the first failure and
    raise it) or ``"collect"`` (never raise; look at the outcomes).
    """

    if TYPE_CHECKING:

        def _jobs(self, tenants: Iterable[str] | None, *, allow_switch: bool) -> list[Job]: ...
        def _entering(self, tenant: str) -> contextlib.AbstractContextManager[Any]: ...
        async def _ajobs(self, tenants: Iterable[str] | None, *, allow_switch: bool) -> list[Job]: ...

    def _scan_request(
        self,
        match: str | None,
        count: int | None,
        type: str | None,  # noqa: A002
        *,
        tenants: Iterable[str] | None = None,
        on_error: ErrorPolicy = "defer",
        timeout: float | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        allow_switch: bool = False,
        unique: bool | int = False,
        resume: str | None = None,
    ) -> ScanRequest:
        """Return the checked arguments of a scan. The defaults of :class:`TenantScanOptions` are here."""
        return ScanRequest(
            self._jobs(tenants, allow_switch=allow_switch),
            match,
            count,
            type,
            checked_policy(on_error),
            checked_seconds(timeout),
            checked_concurrency(concurrency),
            checked_unique(unique),
            None if resume is None else ResumeToken.decoded(resume, request_digest(match, type)),
        )

    def scan_keys(
        self,
        match: str | None = None,
        count: int | None = None,
        type: str | None = None,  # noqa: A002 - SCAN's own word
        **options: Unpack[TenantScanOptions],
    ) -> TenantScan[tuple[str, str]]:
        """Scan the keys of all tenants, or some, side by side.

        Args:
            match: a glob pattern, relative to each database's ``key_prefix``.
            count: keys a server looks at in a round trip; None: a number chosen for speed.
            type: only keys of this Redis type.
            tenants: tenant ids; None: all.
            on_error: what happens to failures: ``"defer"`` (default), ``"raise"`` or ``"collect"``.
            timeout: seconds that each tenant's server may take in total, without the time spent in the loop's body. None
                (default): no total, but each reply must arrive within 10 seconds.
            concurrency: the largest number of connections, over all servers (default 32); at most 8 to one server.
            allow_switch: whether a request that has a tenant may scan others (default False).
            unique: whether to deliver each key once (default False). True remembers up to 1,000,000 keys of the tenants
                that are being scanned, a number up to that many. Beyond that no key is left out, but some may be delivered
                twice; the scan's ``exact`` is False then.
            resume: the ``token()`` of a scan with the same ``match`` and ``type``, from which this scan continues.

        Returns:
            An iterable of tuples of tenant id and key, in the order of arrival. ``outcomes`` holds the result of each tenant.

        Raises:
            UnknownTenantError, InvalidTenantError: If an id in ``tenants`` is not registered or malformed.
            ValueError: If ``resume`` is not a token, or belongs to a scan with another ``match`` or ``type``.
            TenantSwitchError: If the current request belongs to another tenant and ``allow_switch`` is not set.
            FanOutError: If tenants have failed and ``on_error`` is ``"defer"``; raised at the end of the iteration.
        """
        return TenantScan(self._scan_request(match, count, type, **options), _keys)

    def scan_pages(
        self,
        match: str | None = None,
        count: int | None = None,
        type: str | None = None,  # noqa: A002 - SCAN's own word
        **options: Unpack[TenantScanOptions],
    ) -> TenantScan[tuple[str, list[str]]]:
        """Scan as :meth:`scan_keys`, for tuples of tenant id and a list of keys: faster, where keys are handled in bulk."""
        return TenantScan(self._scan_request(match, count, type, **options), _page)

    def ascan_keys(
        self,
        match: str | None = None,
        count: int | None = None,
        type: str | None = None,  # noqa: A002 - SCAN's own word
        **options: Unpack[TenantScanOptions],
    ) -> AsyncTenantScan[tuple[str, str]]:
        """Scan as :meth:`scan_keys`, for ``async for``."""
        return AsyncTenantScan(self._scan_request(match, count, type, **options), _keys)

    def ascan_pages(
        self,
        match: str | None = None,
        count: int | None = None,
        type: str | None = None,  # noqa: A002 - SCAN's own word
        **options: Unpack[TenantScanOptions],
    ) -> AsyncTenantScan[tuple[str, list[str]]]:
        """Scan as :meth:`scan_pages`, for ``async for``."""
        return AsyncTenantScan(self._scan_request(match, count, type, **options), _page)

    @overload
    def fan_out(
        self,
        function: Callable[[RedisDatabase], T],
        *,
        tenants: Iterable[str] | None = None,
        on_error: ErrorPolicy = "defer",
        timeout: float | None = DEFAULT_TIMEOUT,
        concurrency: int = DEFAULT_CONCURRENCY,
        allow_switch: bool = False,
    ) -> dict[str, Outcome[T]]: ...

    @overload
    def fan_out(
        self,
        function: Command | Script,
        *,
        tenants: Iterable[str] | None = None,
        on_error: ErrorPolicy = "defer",
        timeout: float | None = DEFAULT_TIMEOUT,
        concurrency: int = DEFAULT_CONCURRENCY,
        allow_switch: bool = False,
    ) -> dict[str, Outcome[Any]]: ...

    def fan_out(
        self,
        function: Callable[[RedisDatabase], Any] | Command | Script,
        *,
        tenants: Iterable[str] | None = None,
        on_error: ErrorPolicy = "defer",
        timeout: float | None = DEFAULT_TIMEOUT,
        concurrency: int = DEFAULT_CONCURRENCY,
        allow_switch: bool = False,
    ) -> dict[str, Outcome[Any]]:
        """Call a function for all tenants, or some, in threads; or send one command or script to all their databases.

        Args:
            function: called with the tenant's database, while that tenant is current: models reach the same one. Commands
                it sends to that tenant end when its time is up; other work it does can't be ended, only no longer waited for.
                Or a :class:`~tenantlimpyd._operations.steps.Command` or
                :class:`~tenantlimpyd._operations.steps.Script`, such as ``Command("DBSIZE")``: it travels to many
                databases in one write, over at most 8 connections to a server.
                Its words are the same for all tenants: ``key_prefix`` is not applied. It is sent once: where the connection
                fails then, the server may have carried it out.
            tenants: tenant ids; None: all.
            on_error: what becomes of failures.
            timeout: seconds for each tenant; None: no limit, for a command 10 for each answer. Where commands travel
                together, the time of each trip counts for all of them.
            concurrency: tenants at once; for a command, connections.
            allow_switch: whether a request that has a tenant may reach others.

        Returns:
            Tenant id to outcome: a value or an error, and the seconds it took.

        Raises:
            FanOutError: tenants failed, and ``on_error`` is ``"defer"``.
            ImplementationError: a command that alters the connection, waits, or reaches beyond its database.
            UnknownTenantError, InvalidTenantError, TenantSwitchError: as for :meth:`scan_keys`.
        """
        if not isinstance(function, Command | Script):
            checked_function(function, awaits=False)
        jobs = self._jobs(tenants, allow_switch=allow_switch)
        policy, seconds, most = checked_policy(on_error), checked_seconds(timeout), checked_concurrency(concurrency)
        if isinstance(function, Command | Script):
            return call_all(jobs, checked_step(function, jobs), policy=policy, timeout=seconds, concurrency=most)
        return fan_out(jobs, function, entering=self._entering, policy=policy, timeout=seconds, concurrency=most)

    @overload
    async def afan_out(
        self,
        function: Callable[[RedisDatabase], Awaitable[T]],
        *,
        tenants: Iterable[str] | None = None,
        on_error: ErrorPolicy = "defer",
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - for each tenant, not for the call
        concurrency: int = DEFAULT_CONCURRENCY,
        allow_switch: bool = False,
    ) -> dict[str, Outcome[T]]: ...

    @overload
    async def afan_out(
        self,
        function: Command | Script,
        *,
        tenants: Iterable[str] | None = None,
        on_error: ErrorPolicy = "defer",
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - for each tenant, not for the call
        concurrency: int = DEFAULT_CONCURRENCY,
        allow_switch: bool = False,
    ) -> dict[str, Outcome[Any]]: ...

    async def afan_out(
        self,
        function: Callable[[RedisDatabase], Awaitable[Any]] | Command | Script,
        *,
        tenants: Iterable[str] | None = None,
        on_error: ErrorPolicy = "defer",
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - for each tenant, not for the call
        concurrency: int = DEFAULT_CONCURRENCY,
        allow_switch: bool = False,
    ) -> dict[str, Outcome[Any]]:
        """Call a function for all tenants, or some, in tasks; as :meth:`fan_out`, but ``function`` returns an awaitable.

        Commands and scripts are sent as :meth:`fan_out` does. A resolver that has to find some of ``tenants`` is awaited, or
        runs in a thread.
        """
        if not isinstance(function, Command | Script):
            checked_function(function, awaits=True)
        jobs = await self._ajobs(tenants, allow_switch=allow_switch)
        policy, seconds, most = checked_policy(on_error), checked_seconds(timeout), checked_concurrency(concurrency)
        if isinstance(function, Command | Script):
            return await acall_all(jobs, checked_step(function, jobs), policy=policy, timeout=seconds, concurrency=most)
        return await afan_out(jobs, function, entering=self._entering, policy=policy, timeout=seconds, concurrency=most)
