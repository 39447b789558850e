"""The circuit breaker alone: what opens it, whom it admits, what closes it."""

from __future__ import annotations

import asyncio
import errno
import pickle
import threading

import pytest
import redis

from tenantlimpyd._connections.breaker import BreakerPolicy, CircuitBreaker, bypass_breaker
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ConfigurationError, LimpydException, ServerUnavailableError

REFUSED = redis.ConnectionError("Error 111 connecting to redis-1:6379. Connection refused.")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker("redis-1:6379", BreakerPolicy(failures=3, seconds=1.0, max_open_seconds=4.0), clock)


def fail(breaker, times=1, error=REFUSED, waited=0.0, own=5.0, caller=None):
    caller = object() if caller is None else caller
    for _ in range(times):
        breaker.record_failure(caller, error, waited, own)


def test_consecutive_failures_open_the_breaker(breaker, clock):
    fail(breaker, 2)
    assert breaker.status.state == "closed"
    breaker.admit(object())
    fail(breaker)
    assert breaker.may_refuse
    clock.now += 0.4
    with pytest.raises(ServerUnavailableError) as caught:
        breaker.admit(object())
    error = caught.value
    assert isinstance(error, redis.ConnectionError)
    assert isinstance(error, LimpydException)
    assert str(error) == (
        "circuit breaker open for redis-1:6379 since 0.4 s (3 consecutive failures, "
        "last: ConnectionError: Error 111 connecting "
        "to redis-1:6379. Connection refused.); next attempt in 0.6 s. The command was not sent."
    )
    assert error.server == "redis-1:6379"
    assert error.retry_in == pytest.approx(0.6)
    from_template = pickle.loads(pickle.dumps(error))
    assert (str(from_template), from_template.server, from_template.retry_in) == (
        str(error),
        error.server,
        error.retry_in,
    )
    status = breaker.status
    assert (status.state, status.failures, status.error) == ("open", 3, "ConnectionError")
    assert status.seconds == pytest.approx(0.4)
    assert status.retry_in == pytest.approx(0.6)


def test_success_resets_the_count_of_failures(breaker):
    fail(breaker, 2)
    assert breaker.has_failures
    breaker.record_success()
    assert not breaker.has_failures
    fail(breaker, 2)
    assert breaker.status.state == "closed"


def test_connection_timeout_opens_the_breaker_at_once(breaker):
    fail(breaker, error=redis.TimeoutError("Timeout connecting to server"), waited=5.0, own=5.0)
    assert breaker.status.state == "open"


def test_half_open_breaker_admits_one_caller(breaker, clock):
    fail(breaker, 3)
    clock.now += 1.0
    first, second = object(), object()
    breaker.admit(first)
    breaker.admit(first)  # it may check twice: at checkout, and when it connects
    assert breaker.status.state == "half-open"
    with pytest.raises(ServerUnavailableError, match="a probe is running"):
        breaker.admit(second)
    breaker.abandon(second)  # not the one
    with pytest.raises(ServerUnavailableError):
        breaker.admit(second)
    breaker.abandon(first)
    breaker.admit(second)
    breaker.record_success()
    assert breaker.status.state == "closed"
    breaker.admit(first)


def test_probe_without_result_blocks_others_for_a_bounded_time(breaker, clock):
    fail(breaker, 3)
    clock.now += 1.0
    first, other = object(), object()
    breaker.admit(first)
    clock.now += 29.0
    with pytest.raises(ServerUnavailableError):
        breaker.admit(other)
    clock.now += 1.0
    breaker.admit(other)


def test_failed_probes_double_the_open_time_up_to_the_maximum(breaker, clock):
    fail(breaker, 3)
    for seconds in (1.0, 2.0, 4.0, 4.0, 4.0):
        assert breaker.status.retry_in == pytest.approx(seconds)
        clock.now += seconds
        caller = object()
        breaker.admit(caller)
        fail(breaker, caller=caller)
    breaker.record_success()
    fail(breaker, 3)
    assert breaker.status.retry_in == pytest.approx(1.0)


def test_failures_of_earlier_attempts_do_not_prolong_the_open_time(breaker, clock):
    fail(breaker, 3)
    clock.now += 0.5
    fail(breaker, 50)
    assert breaker.status.retry_in == pytest.approx(0.5)
    assert breaker.status.failures == 3


def test_late_timeouts_of_earlier_attempts_do_not_prolong_the_open_time(breaker, clock):
    """Sixty-four threads waited for a silent server, and their timeouts arrive one by one; nobody has tried since."""
    fail(breaker, 3)
    for _ in range(20):
        clock.now += 0.2
        fail(breaker, error=redis.TimeoutError(), waited=5.0)
    assert breaker.status.failures == 3
    assert breaker.status.retry_in == 0
    breaker.admit(caller := object())
    clock.now += 0.5
    fail(breaker, error=redis.TimeoutError(), waited=5.0)  # another of them, while the admitted one is connecting
    assert breaker.status.state == "half-open"
    fail(breaker, caller=caller)
    assert breaker.status.retry_in == pytest.approx(2.0)


def test_bypassed_breaker_refuses_no_caller(breaker, clock):
    fail(breaker, 3)
    with bypass_breaker():
        breaker.check()
        breaker.admit(object())
        clock.now += 0.5
        fail(breaker)  # a failure that prolongs nothing
    assert breaker.status.retry_in == pytest.approx(0.5)
    with pytest.raises(ServerUnavailableError):
        breaker.check()
    clock.now += 0.5
    breaker.admit(object())
    with bypass_breaker():
        breaker.admit(object())
        breaker.record_success()
    assert breaker.status.state == "closed"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL])
def test_missing_local_resources_are_no_failure(breaker, number):
    error = redis.ConnectionError(f"Error {number} connecting to redis-1:6379.")
    try:
        try:
            raise OSError(number, "no more")
        except OSError:
            raise error  # noqa: B904 - as redis-py does
    except redis.ConnectionError:
        fail(breaker, 10, error)
    assert not breaker.has_failures


@pytest.mark.parametrize(
    "error",
    [
        redis.ResponseError("ERR DB index is out of range"),
        redis.AuthenticationError("WRONGPASS"),
        redis.exceptions.AuthorizationError("NOPERM"),
        redis.BusyLoadingError("LOADING"),
        redis.exceptions.MaxConnectionsError("Too many connections"),
        redis.ConnectionError("max number of clients reached"),
        ServerUnavailableError("refused before"),
        ValueError("a bug"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_server_or_the_program_are_no_failure(breaker, clock, error):
    fail(breaker, 10, error)
    assert not breaker.has_failures
    fail(breaker, 3)
    clock.now += 1.0
    caller = object()
    breaker.admit(caller)
    fail(breaker, error=error, caller=caller)
    breaker.admit(object())  # it is another one's turn


@pytest.mark.parametrize(
    "error", [redis.TimeoutError(), TimeoutError(), ConnectionResetError(), OSError(101, "unreachable")]
)
def test_network_errors_are_failures(breaker, error):
    fail(breaker, 3, error, waited=1.0)
    assert breaker.status.state == "open"


@pytest.mark.parametrize(
    ("waited", "own", "counts"),
    [
        (0.001, 5.0, False),
        (0.9, 5.0, False),
        (1.0, 5.0, True),
        (0.05, 0.05, True),
        (0.01, 0.05, False),
        (0.5, None, False),
    ],
)
def test_timeout_shorter_than_that_of_the_settings_is_no_failure(breaker, waited, own, counts):
    fail(breaker, 3, redis.TimeoutError(), waited=waited, own=own)
    assert breaker.may_refuse is counts


def test_simultaneous_timeouts_are_one_failure(breaker, clock):
    for _ in range(2):
        clock.now += 2.0
        for _ in range(64):
            breaker.record_failure(object(), asyncio.CancelledError(), 1.5, 5.0, once=True)
    assert breaker.status.failures == 2
    clock.now += 2.0
    breaker.record_failure(object(), asyncio.CancelledError(), 1.5, 5.0, once=True)
    assert breaker.may_refuse


def test_half_open_breaker_admits_one_of_many_threads(breaker, clock):
    fail(breaker, 3)
    clock.now += 1.0
    start, let_through = threading.Barrier(16), []

    def ask():
        caller = object()
        start.wait(5)
        try:
            breaker.admit(caller)
        except ServerUnavailableError:
            return
        let_through.append(caller)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(let_through) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"failures": 0}, "failures must be a whole number"),
        ({"failures": True}, "failures must be a whole number"),
        ({"seconds": 0}, "seconds must be a number of seconds"),
        ({"seconds": float("nan")}, "seconds must be a number of seconds"),
        ({"max_open_seconds": "1"}, "max_open_seconds must be a number of seconds"),
        ({"seconds": 5.0, "max_open_seconds": 1.0}, "must not be less"),
        ({"fails": 3}, "unknown 'fails'"),
    ],
)
def test_wrong_breaker_policy_is_refused(given, said):
    with pytest.raises(ConfigurationError, match=said):
        RedisDatabase(host="h", breaker=given)
    with pytest.raises(ConfigurationError, match="a mapping of its arguments, or None"):
        RedisDatabase(host="h", breaker=3)


def test_databases_of_a_server_share_one_breaker():
    one, two = (RedisDatabase(host="h", db=db) for db in (1, 2))
    assert one.server.breaker is two.server.breaker is not None
    assert RedisDatabase(host="h", username="u").server.breaker is not one.server.breaker
    assert RedisDatabase(host="h", breaker=None).server.breaker is None
    other = RedisDatabase(host="h", breaker={"failures": 5})
    assert other.server.breaker is not one.server.breaker
    assert other.server.breaker.policy == BreakerPolicy(failures=5)


@pytest.mark.slow
async def test_slow_pipeline_of_one_tenant_does_not_refuse_the_others(server, call):
    """The timeout of a blocking command is no evidence against a server that replies to others."""
    import asyncio

    import redis

    from tenantlimpyd import BreakerPolicy, RedisDatabase

    settings = {**server.settings, "socket_timeout": 1.1, "breaker": BreakerPolicy(failures=1)}
    async with RedisDatabase(**settings, db=1) as slow, RedisDatabase(**settings, db=2) as other:
        assert slow.server is other.server
        other.connection.ping()

        async def waits():
            with pytest.raises(redis.TimeoutError):
                if not call.is_async:
                    pipe = slow.connection.pipeline(transaction=False)
                    await asyncio.to_thread(lambda: pipe.blpop("nothing", 2).execute())
                else:
                    await slow.aconnection.pipeline(transaction=False).blpop("nothing", 2).execute()

        waiting = asyncio.create_task(waits())
        while not waiting.done():
            assert other.connection.ping()  # never refused
            await asyncio.sleep(0.02)
        await waiting
        assert slow.server.breaker.status.state == "closed"
        assert other.connection.ping()
