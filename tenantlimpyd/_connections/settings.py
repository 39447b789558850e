"""Connection settings: checked, typed, compared by name and value, and shown without their secrets."""

from __future__ import annotations

import difflib
import functools
import inspect
import os.path
import re
import weakref
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from tenantlimpyd._connections.breaker import BreakerPolicy
from tenantlimpyd._connections.redis_internals import backoff_of
from tenantlimpyd._connections.topology.sentinel_settings import DEFAULT_TIMEOUT, SentinelSettings, read_sentinel
from tenantlimpyd.exceptions import ConfigurationError, shown
from tenantlimpyd.keys import prefixes_overlap

__all__ = [
    "DEFAULT_CONNECTION_SETTINGS",
    "KNOWN_SETTINGS",
    "SECRET_SETTINGS",
    "Keyspace",
    "Settings",
    "Shared",
    "server_identity",
]

DEFAULT_CONNECTION_SETTINGS: dict[str, Any] = {"host": "localhost", "port": 6379, "db": 0}
"""What a database connects to when it is given nothing at all."""

_REFUSED = {
    "connection_pool": "a database makes its own pools, one for blocking code and one for each event loop",
    "single_connection_client": "a database makes its own pools",
    "decode_responses": "replies are always decoded to str",
    "cache": "client-side caching does not know which database a key is in",
    "cache_config": "client-side caching does not know which database a key is in",
    "event_dispatcher": "a database makes its own pools",
    "oss_cluster_maint_notifications_handler": "it is for clusters",
}
_SYNC = frozenset(inspect.signature(redis.Redis.__init__).parameters) - {"self"}
_ASYNC = frozenset(inspect.signature(redis.asyncio.Redis.__init__).parameters) - {"self"}

_OWN = frozenset({"breaker", "sentinel"})
KNOWN_SETTINGS = (_SYNC - _REFUSED.keys()) | {"url"} | _OWN
"""The names of the settings a database takes, ``key_prefix`` aside: those of ``redis.Redis``, and our own: ``url``,
``breaker`` and ``sentinel``."""

SECRET_SETTINGS = frozenset(
    {"password", "username", "url", "ssl_password", "ssl_keyfile", "credential_provider", "ssl_ca_data", "sentinel"}
)
_ADDRESS = frozenset({"host", "port", "unix_socket_path", "url"})
_MISSING: Any = object()
_LOOPBACK = frozenset({"localhost", "127.0.0.1"})


@functools.lru_cache(maxsize=1024)
def server_identity(server: str) -> str:
    """Return one text for all names of a server that are equal as far as the names tell.

    Host names are equal in any case and with or without a final dot. ``localhost`` and ``127.0.0.1`` are one host.

    Args:
        server: the name of a server as :attr:`Settings.server` returns it.
    """
    if "/" in server or "@" in server:  # a unix socket, or a master and its sentinels
        return server
    host, _, port = server.rpartition(":")
    host = host.lower().rstrip(".")
    return f"{'localhost' if host in _LOOPBACK else host}:{port}"


@attrs.frozen
class Keyspace:
    """Where keys live, as far as settings tell. Two tenants must never share one.

    Two keyspaces are also equal if their servers are two names of one server, such as ``localhost:6379`` and
    ``127.0.0.1:6379``.

    Attributes:
        server: ``host:port`` as configured, the path of a unix socket, or the name of a master and its sentinels.
        db: the number of the logical database.
        prefix: what every key starts with; may be empty.
    """

    server: str = attrs.field(eq=server_identity)
    db: int
    prefix: str

    @property
    def server_identity(self) -> str:
        """The same text for all names of the server that are equal as far as the names tell."""
        return server_identity(self.server)

    def overlaps(self, other: Keyspace) -> bool:
        """Return whether a key could belong to both."""
        same_database = self.server_identity == other.server_identity and self.db == other.db
        return same_database and prefixes_overlap(self.prefix, other.prefix)

    def __str__(self) -> str:
        prefix = f", prefix {self.prefix!a}" if self.prefix else ""
        return f"{self.server}, db {self.db}{prefix}"


class Shared:
    """Settings that many databases have in common. The same names, types and values are one object, however often given.

    Attributes:
        values: names and values; not to be changed.
    """

    __slots__ = ("__weakref__", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


_interned: weakref.WeakValueDictionary[frozenset[tuple[str, type, Any]], Shared] = weakref.WeakValueDictionary()


def _shared(values: dict[str, Any]) -> Shared:
    identity = frozenset((name, type(value), _hashable(value)) for name, value in values.items())
    return _interned.setdefault(identity, Shared(values))


class Settings(Mapping[str, Any]):
    """The settings of one connection, frozen; a mapping of the names and values given.

    Two are equal when every name, value and value type is: ``ssl=True`` is never taken for ``retry_on_timeout=True``.
    Settings of many databases, which differ in ``db`` alone, keep the others once.
    """

    __slots__ = ("_given", "_given_db", "db", "shared")

    db: int
    """The number of the logical database."""
    shared: Shared
    """All the others, as they take effect: what databases must have in common to share connections."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Check the settings.

        Args:
            given: names and values as for ``redis.Redis``, or ``url``.

        Raises:
            ConfigurationError: unknown or refused names, values of the wrong type, a bad URL; all mistakes at once.
        """
        rest = dict(given)
        effective = self._checked(rest)
        self.db = int(effective.pop("db", 0))
        self._given_db = rest.pop("db", _MISSING)
        self._given = _shared(rest)
        self.shared = _shared(effective)

    def __getitem__(self, name: str) -> Any:
        if name == "db" and self._given_db is not _MISSING:
            return self._given_db
        return self._given.values[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._given.values
        if self._given_db is not _MISSING:
            yield "db"

    def __len__(self) -> int:
        return len(self._given.values) + (self._given_db is not _MISSING)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Settings):
            return NotImplemented
        return self.shared is other.shared and self.db == other.db

    def __copy__(self) -> Settings:
        return self

    def __deepcopy__(self, memo: object) -> Settings:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            "settings can't be pickled: they may hold a password. Send the tenant's id, and look its database up in the other "
            "process."
        )

    def __hash__(self) -> int:
        return hash((self.shared, self.db))

    def __repr__(self) -> str:
        others = sorted(self.shared.values.keys() - {"host", "port", "unix_socket_path", *_OWN})
        more = ", ".join(f"{name}=***" if name in SECRET_SETTINGS else f"{name}=..." for name in others)
        return f"<Settings {self.server}, db {self.db}{', ' + more if more else ''}>"

    @property
    def breaker(self) -> BreakerPolicy | None:
        """When the server's breaker opens; None: it has none."""
        return self.shared.values.get("breaker", _DEFAULT_BREAKER)  # type: ignore[no-any-return]

    @property
    def sentinel(self) -> SentinelSettings | None:
        """The sentinels that know where the server is; None: it is where the settings say."""
        return self.shared.values.get("sentinel")

    def of_sentinel(self, host: str, port: int) -> Settings:
        """Return the settings for connecting to one of the sentinels."""
        assert self.sentinel is not None  # noqa: S101 - asked for those of settings only that have one
        given = {
            "socket_timeout": DEFAULT_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            **dict(self.sentinel.settings),
        }
        given.setdefault("socket_connect_timeout", given["socket_timeout"])
        return Settings({"host": host, "port": port, "breaker": None, **given})

    @property
    def server(self) -> str:
        """``host:port`` as configured, the path of the unix socket, or the master and its sentinels.

        Two names may be those of one server: compare them by :func:`server_identity`.
        """
        if (sentinel := self.sentinel) is not None:
            return sentinel.server
        values = self.shared.values
        path = values.get("unix_socket_path")
        if path is not None:
            return os.path.abspath(str(path))  # noqa: PTH100 - resolve() would ask the file system
        return f"{values.get('host', 'localhost')}:{values.get('port', 6379)}"

    @property
    def most_connections(self) -> int | None:
        """How many connections ``max_connections`` allows; None: it is not given."""
        return self.shared.values.get("max_connections")

    def for_blocking(self) -> dict[str, Any]:
        """Return keyword arguments for ``redis.Redis``."""
        effective = self._for_redis()
        retry = effective.get("retry")
        if isinstance(retry, AsyncRetry):
            effective["retry"] = Retry(backoff_of(retry), retry.get_retries())
        return self._with_defaults(effective)

    def for_asyncio(self) -> dict[str, Any]:
        """Return keyword arguments for ``redis.asyncio.Redis``.

        Raises:
            ConfigurationError: a setting that redis-py has for blocking clients only.
        """
        effective = self._for_redis()
        if unknown := sorted(effective.keys() - _ASYNC):
            raise ConfigurationError(
                f"redis.asyncio.Redis has no setting {', '.join(unknown)}: use it in blocking code only"
            )
        retry = effective.get("retry")
        if isinstance(retry, Retry):
            effective["retry"] = AsyncRetry(backoff_of(retry), retry.get_retries())
        return self._with_defaults(effective)

    def _for_redis(self) -> dict[str, Any]:
        return {**{name: value for name, value in self.shared.values.items() if name not in _OWN}, "db": self.db}

    @staticmethod
    def _with_defaults(effective: dict[str, Any]) -> dict[str, Any]:
        effective["decode_responses"] = True
        return effective

    @staticmethod
    def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
        problems = [_unknown(name) for name in given if name not in KNOWN_SETTINGS]
        effective = {name: value for name, value in given.items() if name != "url" and name in KNOWN_SETTINGS}
        for name in ("host", "port", "db", "unix_socket_path"):
            if effective.get(name, name) is None:  # redis-py takes None for "not given"
                del effective[name]
        if "url" in given:
            problems += _read_url(given["url"], effective)
        problems += _wrong_types(effective)
        problems += _own(effective)
        if "unix_socket_path" in effective and effective.keys() & {"host", "port"}:
            problems.append("unix_socket_path and host or port are given together: a server is one or the other")
        if problems:
            raise ConfigurationError(problems)
        return effective


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


_DEFAULT_BREAKER = BreakerPolicy()


def _own(effective: dict[str, Any]) -> list[str]:
    """Make values of our own types; return what is wrong."""
    problems: list[str] = []
    if "breaker" in effective:
        try:
            effective["breaker"] = _policy(effective["breaker"])
        except ConfigurationError as error:
            problems += error.problems
    if effective.get("sentinel", ...) is None:
        del effective["sentinel"]
    if "sentinel" not in effective:
        return problems
    if together := sorted(effective.keys() & _ADDRESS):
        problems.append(
            f"sentinel and {', '.join(together)} are given together: the sentinels say where the master is. Its password, db "
            "and ssl stand beside sentinel, those of the sentinels inside"
        )
    sentinel, wrong = read_sentinel(effective["sentinel"])
    problems += wrong
    if sentinel is not None:
        effective["sentinel"] = sentinel
        given = dict(sentinel.settings)
        outside = given.keys() & {*_ADDRESS, *_OWN, "db", "key_prefix"}
        problems += [f"sentinel: {name} does not belong there" for name in sorted(outside)]
        try:
            Settings({name: value for name, value in given.items() if name not in outside})
        except ConfigurationError as error:
            problems += [f"sentinel: {problem}" for problem in error.problems]
    return problems


def _policy(value: Any) -> BreakerPolicy | None:
    if value is None or isinstance(value, BreakerPolicy):
        return value
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"breaker must be a BreakerPolicy, a mapping of its arguments, or None, not {shown(value)}"
        )
    names = {field.name for field in attrs.fields(BreakerPolicy)}
    if unknown := [shown(name) for name in value if name not in names]:
        raise ConfigurationError(f"breaker: unknown {', '.join(unknown)}; it has {', '.join(sorted(names))}")
    return BreakerPolicy(**value)


def _unknown(name: str) -> str:
    if name in _REFUSED:
        return f"setting {shown(name)} is refused: {_REFUSED[name]}"
    close = difflib.get_close_matches(str(name), [*KNOWN_SETTINGS, "key_prefix"], n=1)
    hint = (
        f"did you mean {close[0]!r}?"
        if close
        else "the settings are those of redis.Redis, and url, key_prefix, sentinel, breaker"
    )
    return f"unknown setting {shown(name)}: {hint}"


def _read_url(url: Any, effective: dict[str, Any]) -> list[str]:
    """Add what a URL says to ``effective``; return what is wrong. The URL itself is never shown: it may hold a password."""
    if not isinstance(url, str):
        return [f"url must be text such as 'redis://localhost:6379/0', not {shown(url)}"]
    try:
        path = urlsplit(url).path
        if not url.startswith("unix:") and not re.fullmatch(r"/?|/\d+", path):
            return [
                "the url's path must be the number of a database, such as /0"
            ]  # redis-py would take 0, or some digits
        said = dict(parse_url(url))
    except ValueError:
        return [
            "url can't be read: it must be redis://, rediss:// or unix://, such as 'redis://user:secret@localhost:6379/0'"
        ]
    connection_class = said.pop("connection_class", None)
    if connection_class is not None and issubclass(connection_class, redis.SSLConnection):
        said["ssl"] = True
    if "path" in said:
        said["unix_socket_path"] = said.pop("path")
    problems = [f"the url's query: {_unknown(name)}" for name in said if name not in KNOWN_SETTINGS]
    for name, value in said.items():
        if name in effective and effective[name] != value:
            problems.append(f"{name} is given twice, by the url and by itself, with different values")
        else:
            effective[name] = value
    return problems


def _wrong_types(effective: dict[str, Any]) -> list[str]:
    problems = []
    for name, kind, example in (("host", str, "'localhost'"), ("unix_socket_path", str, "'/run/redis.sock'")):
        if name in effective and (not isinstance(effective[name], kind) or not effective[name]):
            problems.append(f"{name} must be text such as {example}, not {shown(effective[name])}")
    host = effective.get("host")
    if isinstance(host, str) and re.search(r"[\s/@\x00-\x1f]", host):
        problems.append(
            "host must be a name or an address alone (hidden, since it may hold a password): a URL goes into url"
        )
        effective["host"] = "hidden"
    if not isinstance(effective.get("ssl", False), bool):
        problems.append(f"ssl must be True or False, not {shown(effective['ssl'])}")
    for name, low, high in (("port", 1, 65535), ("db", 0, 2**31 - 1), ("max_connections", 1, 2**31 - 1)):
        value = effective.get(name)
        if value is None:
            continue
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = effective[name] = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            problems.append(f"{name} must be a whole number from {low} to {high}, not {shown(effective[name])}")
    problems += [
        f"{name} must be text, not a {type(effective[name]).__name__}"
        for name in ("username", "password", "client_name")
        if effective.get(name) is not None and not isinstance(effective[name], str)
    ]
    for name in ("socket_timeout", "socket_connect_timeout", "health_check_interval"):
        value = effective.get(name)
        least = 0 if name == "health_check_interval" else 1e-6  # a socket takes 0 for "don't wait at all"
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9
        ):
            problems.append(f"{name} must be a number of seconds, not {shown(value)}")
    if "retry" in effective and not isinstance(effective["retry"], Retry | AsyncRetry):
        problems.append(f"retry must be redis.retry.Retry(backoff, retries), not {shown(effective['retry'])}")
    encoding = effective.get("encoding", "utf-8")
    if not isinstance(encoding, str) or encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        problems.append(f"encoding must be 'utf-8', not {shown(encoding)}: keys and values are UTF-8 text everywhere")
    if effective.get("encoding_errors", "strict") != "strict":
        problems.append(
            "encoding_errors must be 'strict': other handlers change what is read, or fail in some commands only"
        )
    if effective.get("protocol") not in (None, 2, 3, "2", "3"):
        problems.append(f"protocol must be 2 or 3, not {shown(effective['protocol'])}")
    return problems
