"""Malformed tenant ids, and the requirements for their refusal."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.servers import ServerHandle

__all__ = ["HOSTILE", "IDS", "everything_on", "is_readable"]

MEGABYTE = 1 << 20

HOSTILE: dict[str, Any] = {
    "empty": "",
    "blank": " ",
    "ten megabytes": "a" * (10 * MEGABYTE),
    "ten megabytes of bytes": b"a" * (10 * MEGABYTE),
    "one too long": "a" * 129,
    "CRLF": "acme\r\nSET stolen 1",
    "newline at the end": "acme\n",
    "NUL": "acme\0",
    "NUL first": "\0acme",
    "escape": "\x1b[2J",
    "DEL": "acme\x7f",
    "star": "*",
    "question mark": "acm?",
    "brackets": "[a]cme",
    "braces": "{acme}",
    "colon": "acme:admin",
    "path": "../acme",
    "slash": "acme/globex",
    "backslash": "acme\\",
    "quotes": "acme'\"",
    "template": "${jndi:ldap://x}",
    "percent": "acme%00",
    "dot first": ".acme",
    "dash first": "-acme",
    "comma": "acme,globex",
    "cyrillic a": "\u0430cme",
    "fullwidth": "\uff41\uff43\uff4d\uff45",
    "combining": "acme\u0301",
    "zero width": "ac\u200bme",
    "right to left": "\u202eemca",
    "arabic digits": "\u0661\u0662",
    "long s": "\u017fmith",
    "kelvin": "\u212aelvin",
    "surrogate": "acme\ud800",
    "bytes": b"acme",
    "bytearray": bytearray(b"acme"),
    "a number": 1,
    "a large number": 10**5000,
    "true": True,
    "float": float("nan"),
    "a list": ["acme"],
    "a dict": {"acme": 1},
    "an object": object(),
}

VALID = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def _is_none(value: str) -> bool:
    return not (0 < len(value) <= 128 and set(value) <= VALID and value[0] not in "._-")


IDS = st.one_of(
    st.text().filter(_is_none),
    st.text(st.characters(min_codepoint=0, max_codepoint=32), min_size=1),
    st.tuples(st.sampled_from(["acme", "globex"]), st.text(min_size=1)).map("".join).filter(_is_none),
    st.binary(),
    st.integers(),
    st.floats(),
    st.lists(st.text(max_size=3)),
    st.text("ab", min_size=129, max_size=2000),
)


def is_readable(error: BaseException) -> bool:
    """Return whether a message is short, and printable ASCII whatever it is about."""
    text = str(error)
    return 0 < len(text) < 600 and text.isascii() and text.isprintable()


def everything_on(server: ServerHandle) -> dict[int, dict[bytes, bytes]]:
    """Return all keys of all databases, each with its serialised value."""
    found = {}
    with server.client() as client:
        databases = [int(name[2:]) for name in client.info("keyspace")]
    for db in databases:
        with server.client(db=db) as client:
            found[db] = {key: client.dump(key) for key in client.scan_iter()}
    return found
