"""Resume tokens: the position of a scan as text, from which another process can continue.

A token holds which tenants are finished and, for databases that are scanned partly, the cursor and the identity of the
server that returned it. It holds no tenant id, key, pattern or setting, only digests.

Finished tenants are bits in buckets of tenants; each bucket has a digest of its tenants' ids. If tenants were added or removed
since, only the tenants of their buckets are scanned again. Ten thousand tenants need a few kilobytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from tenantlimpyd._scan.keyspaces import ScannedDatabase
from tenantlimpyd._scan.server_identity import ServerIdentity
from tenantlimpyd.exceptions import shown

__all__ = ["ResumeToken", "ScanPosition"]

_MARK = "tlw1."
_LARGEST = 64 * 2**20
_MOST_POSITIONS = 1000
_PER_BUCKET = 32
_WRONG = "resume must be the result of a scan's token()"


@attrs.frozen
class ScanPosition:
    """The position in one database: a cursor and the server that returned it."""

    cursor: bytes
    identity: ServerIdentity


def _digest(*words: str, size: int = 8) -> bytes:
    text = json.dumps(words, ensure_ascii=True).encode()
    return hashlib.blake2b(text, digest_size=size).digest()


def _database_digest(database: ScannedDatabase) -> str:
    found = [(job.tenant, job.database.keyspace) for job in database.jobs]
    # The identity of the server: a token stays valid if the settings name the same server in another way.
    keyspaces = sorted(f"{tenant} {attrs.evolve(place, server=place.server_identity)}" for tenant, place in found)
    return _digest(*keyspaces).hex()


def _buckets(tenants: Iterable[str], number: int) -> list[list[str]]:
    buckets: list[list[str]] = [[] for _ in range(number)]
    for tenant in sorted(tenants):
        buckets[int.from_bytes(_digest(tenant, size=4)) % number].append(tenant)
    return buckets


def request_digest(match: str | None, type_: str | None) -> str:
    """Return a digest of a scan's arguments: a token is valid only for the same arguments."""
    return _digest(repr(match), repr(type_)).hex()


@attrs.frozen
class ResumeToken:
    """The position of a scan.

    Attributes:
        request_digest: the digest of the scan's arguments.
        buckets: the number of buckets.
        through: the bits of finished tenants, encoded.
        positions: the positions in databases that are scanned partly, by a digest of the database and its tenants.
    """

    request_digest: str
    buckets: int
    through: bytes
    positions: Mapping[str, ScanPosition]

    @classmethod
    def of(
        cls, asked: str, tenants: Collection[str], through: Collection[str], unfinished: Iterable[ScannedDatabase]
    ) -> ResumeToken:
        """Return the token for a scan.

        Args:
            asked: the digest of its arguments.
            tenants: all tenants of the scan.
            through: the finished tenants.
            unfinished: the databases that are scanned partly.
        """
        number = 1
        while number * _PER_BUCKET < len(tenants):
            number *= 2
        packed = bytearray()
        for bucket in _buckets(tenants, number):
            bits = sum(1 << position for position, tenant in enumerate(bucket) if tenant in through)
            if not bits:
                packed += b"\0\0"
                continue
            packed += len(bucket).to_bytes(2) + _digest(*bucket) + bits.to_bytes(-(-len(bucket) // 8))
        positions: dict[str, ScanPosition] = {}
        for database in unfinished:
            cursor, identity = database.handed
            if cursor != b"0" and identity is not None and identity.known and len(positions) < _MOST_POSITIONS:
                positions[_database_digest(database)] = ScanPosition(cursor, identity)
        return cls(asked, number, bytes(packed), positions)

    def encoded(self) -> str:
        """Return the token as text."""
        identities = list({position.identity: None for position in self.positions.values()})
        number = {identity: position for position, identity in enumerate(identities)}
        content = json.dumps(
            {
                "asked": self.request_digest,
                "buckets": self.buckets,
                "through": base64.b64encode(self.through).decode(),
                "servers": [[each.run_id.decode("latin-1"), each.role.decode("latin-1")] for each in identities],
                "places": [
                    [digest, number[position.identity], int(position.cursor)]
                    for digest, position in self.positions.items()
                ],
            }
        ).encode()
        packed = zlib.compress(content)
        return _MARK + base64.urlsafe_b64encode(hashlib.sha256(packed).digest()[:8] + packed).decode()

    @classmethod
    def decoded(cls, text: object, asked: str) -> ResumeToken:
        """Return the token that a text encodes.

        Args:
            text: the text.
            asked: the digest of the arguments of the scan that continues.

        Raises:
            TypeError: If it is not text.
            ValueError: If it is not a token, was changed, or belongs to a scan with other arguments.
        """
        if not isinstance(text, str):
            raise TypeError(f"{_WRONG}: text, not {shown(text)}")
        if not text.startswith(_MARK):
            raise ValueError(f"{_WRONG}, not {shown(text)}: it is not a token of this version of tenantlimpyd")
        try:
            raw = base64.b64decode(text[len(_MARK) :], altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(raw).decode() != text[len(_MARK) :]:
                raise ValueError("other characters stand for the same bytes")
            if hashlib.sha256(raw[8:]).digest()[:8] != raw[:8]:
                raise ValueError("the digest differs")
            unpacking = zlib.decompressobj()
            content = unpacking.decompress(raw[8:], _LARGEST)
            if not unpacking.eof:
                raise ValueError("longer than any token")
            token = cls._read(json.loads(content))
        except (ValueError, zlib.error, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{_WRONG}: this one is damaged") from error
        if token.request_digest != asked:
            raise ValueError(
                "the token belongs to a scan with another match or type: resume with the same ones, or start a new scan"
            )
        return token

    @classmethod
    def _read(cls, content: dict[str, Any]) -> ResumeToken:
        servers = [
            ServerIdentity(str(run_id).encode("latin-1"), str(role).encode("latin-1"))
            for run_id, role in content["servers"]
        ]
        positions = {
            str(digest): ScanPosition(b"%d" % _natural(cursor), servers[_natural(server)])
            for digest, server, cursor in content["places"]
        }
        buckets = _natural(content["buckets"])
        if not 1 <= buckets <= 2**20:
            raise ValueError("no such number of buckets")
        return cls(str(content["asked"]), buckets, base64.b64decode(content["through"], validate=True), positions)

    def finished(self, tenants: Sequence[str]) -> set[str]:
        """Return the tenants that the token records as finished."""
        finished: set[str] = set()
        at = 0
        for bucket in _buckets(tenants, self.buckets):
            length = int.from_bytes(self.through[at : at + 2])
            at += 2
            if not length:
                continue
            digest = self.through[at : at + 8]
            at += 8
            bits = int.from_bytes(self.through[at : at + -(-length // 8)])
            at += -(-length // 8)
            if len(bucket) == length and digest == _digest(*bucket):
                finished.update(tenant for position, tenant in enumerate(bucket) if bits >> position & 1)
        return finished

    def put(self, database: ScannedDatabase) -> None:
        """Set a database to its recorded position, if there is one."""
        if self.positions and (position := self.positions.get(_database_digest(database))) is not None:
            database.cursor, database.identity = position.cursor, position.identity
            database.handed = (position.cursor, position.identity)
            database.begun = True


def _natural(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError("not a natural number")
    return number
