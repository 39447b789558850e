"""What commands are by their names: those that wait, those that can't be in a transaction, and those that change nothing."""

from __future__ import annotations

from typing import Any

__all__ = ["ALONE", "BLOCKING", "READS", "first_word"]

BLOCKING = frozenset(
    {
        *("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP"),
        *("XREAD", "XREADGROUP", "WAIT", "WAITAOF"),
    }
)
"""Commands that wait on the server, and in a transaction would not. XREAD and XREADGROUP where BLOCK says so."""

ALONE = BLOCKING | {
    *("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "AUTH", "HELLO", "CLIENT", "QUIT", "RESET", "SELECT"),
    *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR"),
    *("SYNC", "PSYNC", "REPLCONF", "SAVE", "BGSAVE", "BGREWRITEAOF", "SHUTDOWN", "FAILOVER", "DEBUG", "SCRIPT DEBUG"),
    *("READONLY", "READWRITE", "ASKING", "DUMP"),
}
"""Commands that can't be in a transaction, do something else there, or (DUMP) have a reply that must not be decoded."""

READS = frozenset(
    {
        *("SCAN", "DBSIZE", "PING", "ECHO", "TIME", "INFO", "ROLE", "KEYS", "RANDOMKEY"),
        *("EXISTS", "TYPE", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "OBJECT", "DUMP"),
        *("GET", "MGET", "STRLEN", "GETRANGE", "BITCOUNT", "GETBIT"),
        *("HGET", "HMGET", "HGETALL", "HLEN", "HKEYS", "HVALS", "HEXISTS", "HSCAN"),
        *("SCARD", "SMEMBERS", "SISMEMBER", "SMISMEMBER", "SSCAN", "LLEN", "LRANGE", "LINDEX"),
        *("ZCARD", "ZSCORE", "ZCOUNT", "ZSCAN", "ZRANGEBYSCORE", "ZRANGEBYLEX", "XLEN", "XRANGE", "XINFO"),
        *("EVAL_RO", "EVALSHA_RO", "FCALL_RO"),
    }
)
"""Commands that change nothing, wherever they are carried out. Only what is certain: all others are taken to write."""


def first_word(name: Any) -> str:
    """Return the first word of a command's name, upper case; redis-py takes text or bytes, subcommands after a space."""
    if name.__class__ is str and name.isupper() and " " not in name:
        found: str = name
        return found
    text = bytes(name).decode(errors="replace") if isinstance(name, bytes | bytearray | memoryview) else str(name)
    words = text.upper().split()
    return words[0] if words else ""
