"""Guards of isolation and delivery, and for each the text that switches it off and the tests that must fail then."""

from __future__ import annotations

import attrs

__all__ = ["MUTATIONS", "Mutation"]


@attrs.frozen
class Mutation:
    """A guard that is switched off.

    Attributes:
        guard: what the guard does.
        path: the file, below the root of the repository.
        guarded: the text with the guard, which the file has once.
        unguarded: the text without it.
        tests: what pytest runs: at least one of these tests must fail.
    """

    guard: str
    path: str
    guarded: str
    unguarded: str
    tests: tuple[str, ...]


CONNECTION = "tenantlimpyd/_connections/connection_base.py"

MUTATIONS = [
    Mutation(
        "a connection in an interrupted handshake is closed",
        CONNECTION,
        "            or self.handshaking\n",
        "",
        ("tests/connections/test_live_connections.py", "-k", "connecting"),
    ),
    Mutation(
        "an altered connection is closed",
        CONNECTION,
        "            or self.altered\n",
        "",
        ("tests/connections/test_altered_connections.py",),
    ),
    Mutation(
        "a connection in a transaction is closed",
        CONNECTION,
        "            or self.in_transaction\n",
        "",
        ("tests/connections/test_altered_connections.py",),
    ),
    Mutation(
        "commands are recognized in every spelling",
        "tenantlimpyd/_commands/__init__.py",
        "return text.upper().split()",
        'return text.split(" ")',
        ("tests/connections/test_altered_connections.py", "tests/commands"),
    ),
    Mutation(
        "an unknown command uses a dedicated connection",
        "tenantlimpyd/_commands/row.py",
        '        blocking="always",\n        effect="alters",\n',
        '        blocking="never",\n        effect="none",\n',
        ("tests/connections/test_shared_connections.py", "tests/commands"),
    ),
    Mutation(
        "a write that may have run is not sent again",
        CONNECTION,
        "self.unconfirmed, self._not_repeatable = True, False",
        "self.unconfirmed, self._not_repeatable = False, False",
        ("tests/connections/test_at_most_once.py", "tests/connections/test_at_most_once_counted.py"),
    ),
    Mutation(
        "permits are counted from the connections that exist",
        "tenantlimpyd/_connections/live_connections.py",
        "        self._references.add(reference)\n",
        '        self._references.add(reference)\n        self.__dict__.setdefault("kept", []).append(item)\n',
        ("tests/connections/test_live_connections.py",),
    ),
    Mutation(
        "a write to a deleted object is refused",
        "tenantlimpyd/atomic/guarded_write.py",
        "if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return {'gone'} end\n",
        "",
        ("tests/model/test_writes_to_deleted_objects.py",),
    ),
    Mutation(
        "WAIT is refused where it would wait for nothing",
        "tenantlimpyd/_connections/client.py",
        'if row.name in ("WAIT", "WAITAOF"):',
        "if not row.name:",
        ("tests/connections/test_raw_commands.py",),
    ),
    Mutation(
        "a command that reaches another database is refused",
        CONNECTION,
        "if row.name in _CROSSES or row.names_database(command):",
        "if not row.name:",
        ("tests/connections/test_raw_commands.py",),
    ),
    Mutation(
        "a database that tenants share is not emptied",
        CONNECTION,
        'if row.name in _EMPTIES and getattr(self.user, "confined", False):',
        "if not row.name:",
        ("tests/connections/test_raw_commands.py",),
    ),
    Mutation(
        "fan_out refuses commands beyond a tenant's database",
        "tenantlimpyd/_fanout/multiplex/command_call.py",
        '            or row.reach == "databases"\n',
        "",
        ("tests/fanout/test_refused_functions.py",),
    ),
    Mutation(
        "fan_out refuses functions whose body it would not run",
        "tenantlimpyd/_fanout/functions.py",
        "if not awaits and inspect.iscoroutinefunction(called):",
        "if not called:",
        ("tests/fanout/test_refused_functions.py",),
    ),
    Mutation(
        "a lock is entered again only while the server has its token",
        "tenantlimpyd/database/locks.py",
        "if stored is None or stored != hold.token:",
        "if stored is None:",
        ("tests/fields/test_locks.py",),
    ),
    Mutation(
        "operations on one object in a pipeline keep their order",
        "tenantlimpyd/pipelines/queue.py",
        "            group in self._blocked\n",
        "            False\n",
        ("tests/pipelines/test_queue.py", "tests/pipelines/test_repeated_object.py"),
    ),
    Mutation(
        "replies QUEUED are not parsed",
        "tenantlimpyd/_operations/drivers.py",
        "str(command.args[0]).encode(), *command.args[1:]",
        "*command.args",
        ("tests/pipelines/test_repeated_object.py",),
    ),
    Mutation(
        "counters are exact beyond 2^53",
        "tenantlimpyd/atomic/short_script.py",
        "if ARGV[at] == 'HINCRBY' then reply = call('HGET', KEYS[k], ARGV[at + 2]) else reply = call('GET', KEYS[k]) end",
        "",
        ("tests/model/test_writes_to_deleted_objects.py", "-k", "exact_integers"),
    ),
    Mutation(
        "numbers that a float can't hold are not indexed",
        "tenantlimpyd/indexes/ranges.py",
        "return not isinstance(value, int) or number == value",
        "return True",
        ("tests/model/test_refused_definitions.py",),
    ),
    Mutation(
        "settings are not pickled",
        "tenantlimpyd/_connections/settings.py",
        "    def __reduce__(self) -> Any:\n",
        "    def _reduce(self) -> Any:\n",
        ("tests/connections/test_raw_commands.py", "-k", "pickle"),
    ),
    Mutation(
        "MULTI is pre-opened only where the probe passed",
        "tenantlimpyd/_connections/select_replies.py",
        "if reason is not None and reason is not FULL:",
        "if not commands:",
        ("tests/connections/test_transaction_probe.py",),
    ),
    Mutation(
        "fan_out sends transactions only where the probe passed",
        "tenantlimpyd/_fanout/multiplex/command_worker.py",
        "if not self._open or refusal(replies[: len(_PROBE)]) is not None:",
        "if not self._open:",
        ("tests/connections/test_transaction_probe.py", "-k", "command_for_all"),
    ),
    Mutation(
        "a slow command of one tenant does not open the circuit breaker",
        CONNECTION,
        "            self.breaker.replies += 1\n",
        "            self.breaker.replies += 0\n",
        ("tests/connections/test_breaker.py",),
    ),
    Mutation(
        "an error of several tenants names each once",
        "tenantlimpyd/_fanout/outcomes.py",
        'if others or getattr(error, "tenant", tenant) != tenant:',
        "if not error:",
        ("tests/connections/test_raw_commands.py", "-k", "error"),
    ),
    Mutation(
        "a damaged resume token is refused",
        "tenantlimpyd/_scan/resume_token.py",
        "if hashlib.sha256(raw[8:]).digest()[:8] != raw[:8]:",
        "if not raw:",
        ("tests/scan/test_damaged_tokens.py", "tests/scan/test_resume_token.py"),
    ),
    Mutation(
        "sort refuses what is no field",
        "tenantlimpyd/collection/sort_options.py",
        "    if not model.has_field(by):\n        if",
        "    if not model.has_field(by):\n        if True or",
        ("tests/collection", "tests/model/test_refused_definitions.py"),
    ),
    Mutation(
        "a closed generator ends in its tenant",
        "tenantlimpyd/router/scope.py",
        "                with self:\n                    inner.close()\n                raise\n",
        "                inner.close()\n                raise\n",
        ("tests/router/test_generator_cleanup.py", "tests/router/test_decorators.py"),
    ),
    Mutation(
        "a child process looks tenants up by itself",
        "tenantlimpyd/router/resolver.py",
        "        self._asking: dict[str, _PendingLookup] = {}\n",
        '        self._asking: dict[str, _PendingLookup] = getattr(self, "_asking", {})\n',
        ("tests/connections/test_left_behind.py", "-k", "lookup"),
    ),
    Mutation(
        "values and keys are UTF-8 only",
        "tenantlimpyd/_connections/settings.py",
        'if effective.get("encoding_errors", "strict") != "strict":',
        "if not effective:",
        ("tests/connections/test_settings.py",),
    ),
    Mutation(
        "a scan writes its position at SIGTERM",
        "tenantlimpyd/cli/scan.py",
        "    before = signal.signal(signal.SIGTERM, _terminated) if main else None\n",
        "    before = signal.getsignal(signal.SIGTERM) if main else None\n",
        ("tests/cli/test_scan.py",),
    ),
]
