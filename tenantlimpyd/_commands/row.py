"""The row of a command: what it does to keys, to its connection and to a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import attrs

from tenantlimpyd._commands.key_positions import KeyPositions

__all__ = ["Blocking", "CommandRow", "Effect", "Reach", "parse_row", "unknown_row"]

Effect: TypeAlias = Literal["none", "alters", "moves", "begins", "ends"]
Blocking: TypeAlias = Literal["never", "option", "always"]
Reach: TypeAlias = Literal["keys", "database", "databases", "server", "channels", "connection", "unknown"]

_FLAGS = frozenset({
    *("read", "write", "repeatable", "memory", "blocks", "block-option", "alters", "moves", "begins", "ends"),
    *("no-multi", "raw", "db-option"),
})  # fmt: skip


@attrs.frozen
class CommandRow:
    """What the library knows of one Redis command.

    Attributes:
        name: the command in upper case; a subcommand after a space, as ``XGROUP CREATE``.
        known: whether the table has it. False: nothing is certain, so everything below has its careful value.
        keys: where its keys are.
        reads: whether it only reads: it changes no data and no connection, wherever it runs (flag ``read``).
        writes: whether it may change data (flag ``write``).
        repeatable: whether sending it twice does no more than sending it once: it only reads, or has the flag ``repeatable``.
        needs_memory: whether a server at ``maxmemory`` refuses it (flag ``memory``).
        blocking: whether it may wait on the server: ``"always"`` (flag ``blocks``), or only with the option ``BLOCK``
            (``"option"``, flag ``block-option``).
        effect: what it does to its connection. ``"alters"``: the next user finds another state (user, name, protocol,
            subscriptions). ``"moves"``: another database. ``"begins"`` and ``"ends"``: a transaction or its watched keys.
        in_multi: whether it means the same inside MULTI (False with the flag ``no-multi``).
        binary_reply: whether its reply is no text, and must not be decoded (flag ``raw``).
        database_option: whether the option ``DB`` makes it reach another database (flag ``db-option``).
        reach: what it may touch.
        value_type: the type of the value at its first key, as ``TYPE`` names it; None: any.
        since: the first version with it, by kind of server (``redis``, ``valkey``); None for a kind without it. Empty: all
            servers from Redis 6.2 on have it.
    """

    name: str
    known: bool
    keys: KeyPositions
    reads: bool
    writes: bool
    repeatable: bool
    needs_memory: bool
    blocking: Blocking
    effect: Effect
    in_multi: bool
    binary_reply: bool
    database_option: bool
    reach: Reach
    value_type: str | None
    since: Mapping[str, str | None]
    routine: bool = attrs.field(init=False)
    """Whether any connection may send it without a further look: it stays with its keys and leaves the connection as it was."""

    @routine.default
    def _is_routine(self) -> bool:
        beyond = self.writes and self.reach in ("database", "databases")
        return self.known and self.effect == "none" and not beyond and not self.database_option

    def names_database(self, arguments: Sequence[Any]) -> bool:
        """Return whether the command names another database by the option ``DB``.

        Args:
            arguments: the command's words, its name first.
        """
        return self.database_option and any(_is_word(each, "DB") for each in arguments[3:])

    def blocks(self, arguments: Sequence[Any]) -> bool:
        """Return whether the command waits on the server with these words.

        Args:
            arguments: the command's words, its name first.
        """
        if self.blocking == "option":
            # The options of XREAD and XREADGROUP come before their keys; GROUP and its two words may come first.
            return any(_is_word(each, "BLOCK") for each in arguments[1:8])
        return self.blocking == "always"


def _is_word(value: Any, word: str) -> bool:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).upper() == word.encode()
    return isinstance(value, str) and value.upper() == word


def unknown_row(name: str) -> CommandRow:
    """Return the row of a command that the table does not have: every property has its careful value."""
    return CommandRow(
        name=name,
        known=False,
        keys=KeyPositions.unknown(),
        reads=False,
        writes=True,
        repeatable=False,
        needs_memory=True,
        blocking="always",
        effect="alters",
        in_multi=False,
        binary_reply=True,
        database_option=True,
        reach="unknown",
        value_type=None,
        since={},
    )


def parse_row(line: str) -> CommandRow:
    """Return the row that a line of the table describes.

    Raises:
        ValueError: If the line has another number of columns, or a flag, reach or position that is not defined.
    """
    columns = line.split()
    if len(columns) != 6:
        raise ValueError(f"a row of the command table has 6 columns: {line!r}")
    name, keys, flag_list, reach, value_type, since = columns
    flags = frozenset() if flag_list == "-" else frozenset(flag_list.split(","))
    if unknown := flags - _FLAGS:
        raise ValueError(f"unknown flags {sorted(unknown)} in {line!r}; there are {sorted(_FLAGS)}")
    if reach not in get_args(Reach):
        raise ValueError(f"unknown reach {reach!r} in {line!r}; there are {get_args(Reach)}")
    effects = flags & {"alters", "moves", "begins", "ends"}
    return CommandRow(
        name=name.replace("|", " "),
        known=True,
        keys=KeyPositions.parse(keys),
        reads="read" in flags,
        writes="write" in flags,
        repeatable=bool(flags & {"read", "repeatable"}),
        needs_memory="memory" in flags,
        blocking="always" if "blocks" in flags else "option" if "block-option" in flags else "never",
        effect=next(iter(effects), "none"),  # type: ignore[arg-type]  # a member of Effect, as the line above says
        in_multi="no-multi" not in flags,
        binary_reply="raw" in flags,
        database_option="db-option" in flags,
        reach=reach,  # type: ignore[arg-type]  # checked above
        value_type=None if value_type == "-" else value_type,
        since=_since(since),
    )


def _since(text: str) -> Mapping[str, str | None]:
    if text == "-":
        return {}
    if ":" not in text:
        return {"redis": text, "valkey": text}
    versions = dict(each.split(":") for each in text.split(","))
    return {kind: None if version == "no" else version for kind, version in versions.items()}
