"""The blocking comparisons: each a pair of blocks that do the same work, ours and redis-py's."""

from __future__ import annotations

import attrs
import redis
from redis.commands.core import Script

from benchmarks.pairs import Block
from benchmarks.setting import FOUND, KEY, NAMES, VALUE, Setting, alike

CREATE = """
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
redis.call('SET', KEYS[4], ARGV[4])
redis.call('SADD', KEYS[5], ARGV[1])
redis.call('SADD', KEYS[6], ARGV[1])
"""
"""What one would write by hand to store an object of three values, two of them indexed, in one step."""

CHANGE = """
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return redis.error_reply('gone') end
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return redis.error_reply('stale') end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
return redis.status_reply('OK')
"""
"""The same for a change of an indexed value whose old one is known."""


@attrs.frozen
class Case:
    """One line of the table.

    Attributes:
        name: what is done.
        peer: what it is compared with.
        ours, theirs: the blocks.
        aim: the ratio aimed at; None: shown for what it tells, without an aim.
        repeat: how often a block does its work.
    """

    name: str
    peer: str
    ours: Block
    theirs: Block
    aim: float | None = None
    repeat: int = 20


def gets(client: redis.Redis) -> Block:
    """Return a block of GETs on a redis-py client."""

    def block(repeat: int) -> None:
        for _ in range(repeat):
            client.get(KEY)

    return block


def sets(client: redis.Redis, key: str) -> Block:
    """Return a block of SETs on a redis-py client."""

    def block(repeat: int) -> None:
        for _ in range(repeat):
            client.set(key, VALUE)

    return block


def commands(setting: Setting) -> list[Case]:
    """Return the cases of single commands. They run inside the tenant ``acme``."""
    router, peer = setting.router, setting.peer
    invoice = setting.model(number="F-1", customer="Ann", note=VALUE)

    def routed(repeat: int) -> None:
        for _ in range(repeat):
            router.database.connection.get(KEY)

    def field_get(repeat: int) -> None:
        for _ in range(repeat):
            invoice.note.get()

    def field_set(repeat: int) -> None:
        for _ in range(repeat):
            invoice.note.set(VALUE)

    second = redis.Redis(**alike(setting.database.settings.for_blocking()))
    return [
        Case("control: redis-py GET", "redis-py GET", gets(second), gets(peer)),
        Case("routed GET", "redis-py GET", routed, gets(peer), 1.05),
        Case("routed GET", "redis-py GET as it comes", routed, gets(setting.stock), 1.05),
        Case("field get", "redis-py GET", field_get, gets(peer), 1.15),
        Case("field set", "redis-py SET", field_set, sets(peer, invoice.note.key), 1.15),
    ]


def objects(setting: Setting) -> list[Case]:
    """Return the cases of whole objects. They run inside the tenant ``acme``."""
    return [create(setting), indexed_set(setting), *look_ups(setting), *found(setting)]


def create(setting: Setting) -> Case:
    model, peer = setting.model, setting.peer
    script: Script = peer.register_script(CREATE)

    def ours(repeat: int) -> None:
        for _ in range(repeat):
            model(number="F-2", customer="Ben", note=VALUE)

    def by_hand(repeat: int) -> None:
        for _ in range(repeat):
            pk = peer.incr(":invoice:max_pk")
            base = f":invoice:{pk}:"
            script(
                keys=[
                    ":invoice:collection",
                    base + "number",
                    base + "customer",
                    base + "note",
                    ":invoice:number:F-2",
                    ":invoice:customer:Ben",
                ],
                args=[pk, "F-2", "Ben", VALUE],
            )

    return Case("create, 3 fields, 2 indexed", "redis-py, INCR and Lua by hand", ours, by_hand, 1.5, 10)


def indexed_set(setting: Setting) -> Case:
    peer = setting.peer
    script: Script = peer.register_script(CHANGE)
    invoice = setting.model(number="F-3", customer="Cleo", note=VALUE)
    other = setting.model(number="F-4", customer="Cleo", note=VALUE)
    pk, key = other.pk.get(), other.customer.key

    def ours(repeat: int) -> None:
        for _ in range(repeat // 2):
            invoice.customer.set("Dan")
            invoice.customer.set("Cleo")

    def by_hand(repeat: int) -> None:
        for _ in range(repeat // 2):
            for old, new in (("Cleo", "Dan"), ("Dan", "Cleo")):
                sets_of = [":invoice:collection", key, f":invoice:customer:{old}", f":invoice:customer:{new}"]
                script(keys=sets_of, args=[pk, old, new])

    return Case("set of an indexed field", "redis-py, Lua by hand", ours, by_hand, 1.5, 10)


def look_ups(setting: Setting) -> list[Case]:
    model, peer = setting.model, setting.peer
    invoice = model(amount="1", currency="EUR", due="2030")
    pk, key = invoice.pk.get(), invoice.key

    def found(repeat: int) -> None:
        for _ in range(repeat):
            model.get(pk).hmget(*NAMES)

    def lazy(repeat: int) -> None:
        for _ in range(repeat):
            model.lazy_connect(pk).hmget(*NAMES)

    def by_hand(repeat: int) -> None:
        for _ in range(repeat):
            peer.hmget(key, NAMES)

    return [
        Case("get(pk), then 3 fields", "redis-py HMGET", found, by_hand, 2.1, 10),
        Case("lazy_connect(pk), then 3 fields", "redis-py HMGET", lazy, by_hand, 1.15),
    ]


def found(setting: Setting) -> list[Case]:
    """Return the cases of many objects that a query finds."""
    model, peer = setting.model, setting.peer
    for number in range(FOUND):
        model(customer="Found", amount=str(number), currency="EUR", due="2030")

    def values(repeat: int) -> None:
        for _ in range(repeat):
            rows = list(model.collection(customer="Found").values(*NAMES))
        assert len(rows) == FOUND

    def instances(repeat: int) -> None:
        for _ in range(repeat):
            objects = list(model.instances(customer="Found").fetch(*NAMES))
        assert len(objects) == FOUND

    def by_hand(repeat: int) -> None:
        for _ in range(repeat):
            pks = peer.smembers(":invoice:customer:Found")
            with peer.pipeline(transaction=False) as pipeline:
                for pk in pks:
                    pipeline.hmget(f":invoice:{pk}:hash", NAMES)
                rows = pipeline.execute()
        assert len(rows) == FOUND

    beside = "redis-py, SMEMBERS, pipeline"
    return [
        Case(f"3 fields of {FOUND} found objects, values", beside, values, by_hand, 1.0, 2),
        Case(f"3 fields of {FOUND} found objects, instances", beside, instances, by_hand, 1.5, 2),
    ]
