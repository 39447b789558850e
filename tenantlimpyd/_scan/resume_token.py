"""Where a walk was, as text that another process can go on from.

It holds which tenants are through and, for databases in the middle of which the walk was, the cursor and the server
process it is of. No tenant's id, no key, no pattern and no setting is in it, only digests.

Which tenants are through is kept as bits, in buckets of tenants, each with a digest of its tenants' ids: where tenants were
added or removed since, only those that share their bucket are walked again. So ten thousand tenants fit in some kilobytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from tenantlimpyd._scan.keyspaces import ScannedDatabase, ServerIdentity
from tenantlimpyd.exceptions import shown

__all__ = ["ResumeToken", "ScanPosition"]

_MARK = "tlw1."
_LARGEST = 64 * 2**20
_PLACES = 1000
_PER_BUCKET = 32
_WRONG = "resume must be what a walk's token() returned"


@attrs.frozen
class ScanPosition:
    """The place in one database: a cursor, and whose it is."""

    cursor: bytes
    identity: ServerIdentity


def _digest(*words: str, size: int = 8) -> bytes:
    text = json.dumps(words, ensure_ascii=True).encode()
    return hashlib.blake2b(text, digest_size=size).digest()


def _source_digest(source: ScannedDatabase) -> str:
    keyspaces = sorted(f"{job.tenant} {job.database.keyspace}" for job in source.jobs)
    return _digest(*keyspaces).hex()


def _buckets(tenants: Iterable[str], number: int) -> list[list[str]]:
    buckets: list[list[str]] = [[] for _ in range(number)]
    for tenant in sorted(tenants):
        buckets[int.from_bytes(_digest(tenant, size=4)) % number].append(tenant)
    return buckets


def question(match: str | None, type_: str | None) -> str:
    """Return a digest of what a walk asks for: a token goes on with the same question only."""
    return _digest(repr(match), repr(type_)).hex()


@attrs.frozen
class ResumeToken:
    """A walk's place.

    Attributes:
        question: what the walk asks for, as a digest.
        buckets: how many there are.
        through: the tenants that are through, packed.
        places: the places in unfinished databases, by a digest of the database and its tenants.
    """

    question: str
    buckets: int
    through: bytes
    places: Mapping[str, ScanPosition]

    @classmethod
    def of(
        cls, asked: str, tenants: Collection[str], through: Collection[str], unfinished: Iterable[ScannedDatabase]
    ) -> ResumeToken:
        """Return the place of a walk.

        Args:
            asked: its question.
            tenants: all its tenants.
            through: those that are through.
            unfinished: databases that are not.
        """
        number = 1
        while number * _PER_BUCKET < len(tenants):
            number *= 2
        packed = bytearray()
        for bucket in _buckets(tenants, number):
            bits = sum(1 << place for place, tenant in enumerate(bucket) if tenant in through)
            if not bits:
                packed += b"\0\0"
                continue
            packed += len(bucket).to_bytes(2) + _digest(*bucket) + bits.to_bytes(-(-len(bucket) // 8))
        places: dict[str, ScanPosition] = {}
        for source in unfinished:
            cursor, identity = source.handed
            if cursor != b"0" and identity is not None and identity.known and len(places) < _PLACES:
                places[_source_digest(source)] = ScanPosition(cursor, identity)
        return cls(asked, number, bytes(packed), places)

    def encoded(self) -> str:
        """Return it as text."""
        identities = list({place.identity: None for place in self.places.values()})
        number = {identity: place for place, identity in enumerate(identities)}
        content = json.dumps(
            {
                "asked": self.question,
                "buckets": self.buckets,
                "through": base64.b64encode(self.through).decode(),
                "servers": [[each.run_id.decode("latin-1"), each.role.decode("latin-1")] for each in identities],
                "places": [
                    [digest, number[place.identity], int(place.cursor)] for digest, place in self.places.items()
                ],
            }
        ).encode()
        return _MARK + base64.urlsafe_b64encode(hashlib.sha256(content).digest()[:8] + zlib.compress(content)).decode()

    @classmethod
    def decoded(cls, text: object, asked: str) -> ResumeToken:
        """Return what a token says.

        Raises:
            TypeError: not text.
            ValueError: not a token, one that was changed, or one of a walk that asked for something else.
        """
        if not isinstance(text, str):
            raise TypeError(f"{_WRONG}: text, not {shown(text)}")
        if not text.startswith(_MARK):
            raise ValueError(f"{_WRONG}, not {shown(text)}: it is none, or of another version of tenantlimpyd")
        try:
            raw = base64.b64decode(text[len(_MARK) :], altchars=b"-_", validate=True)
            unpacking = zlib.decompressobj()
            content = unpacking.decompress(raw[8:], _LARGEST)
            if unpacking.unconsumed_tail or hashlib.sha256(content).digest()[:8] != raw[:8]:
                raise ValueError("its digest is another one")
            token = cls._read(json.loads(content))
        except (ValueError, zlib.error, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{_WRONG}: this one was changed or cut") from error
        if token.question != asked:
            raise ValueError(
                "the token is of a walk with another match or type: resume with the same ones, or begin a new walk"
            )
        return token

    @classmethod
    def _read(cls, content: dict[str, Any]) -> ResumeToken:
        servers = [
            ServerIdentity(str(run_id).encode("latin-1"), str(role).encode("latin-1"))
            for run_id, role in content["servers"]
        ]
        places = {
            str(digest): ScanPosition(b"%d" % _natural(cursor), servers[_natural(server)])
            for digest, server, cursor in content["places"]
        }
        buckets = _natural(content["buckets"])
        if not 1 <= buckets <= 2**20:
            raise ValueError("no such number of buckets")
        return cls(str(content["asked"]), buckets, base64.b64decode(content["through"], validate=True), places)

    def finished(self, tenants: Sequence[str]) -> set[str]:
        """Return those of the tenants that are through."""
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
                finished.update(tenant for place, tenant in enumerate(bucket) if bits >> place & 1)
        return finished

    def put(self, source: ScannedDatabase) -> None:
        """Set a source to the place it was at, if the token knows one."""
        if self.places and (place := self.places.get(_source_digest(source))) is not None:
            source.cursor, source.identity = place.cursor, place.identity
            source.handed = (place.cursor, place.identity)
            source.begun = True


def _natural(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError("not a natural number")
    return number
