"""Random operations on a few objects: as data, and their execution by either library."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from integration.atomicity.schema import PKS, UNIQUE, VALUES, make_account
from integration.parity.libraries import OURS, Library
from tenantlimpyd.exceptions import DoesNotExist, UniquenessError

__all__ = ["Done", "run", "run_tasks"]

Done = tuple[int, list[str]]
"""How many operations there were, and those errors that no operation may raise."""

STEP = tuple[str, str, tuple[Any, ...], dict[str, Any]]
"""On what (a field's name, ``object`` or ``model``), the method, its arguments."""


def step(chooser: random.Random) -> STEP:
    """Return an operation."""
    value, other, number = chooser.choice(VALUES), chooser.choice(VALUES), chooser.randrange(-3, 4)
    pk = chooser.choice(PKS)  # of an object to link to, which need not be there
    steps: list[STEP] = [
        *((field, "set", (value,), {}) for field in ("email", "handle", "title")),
        *((field, "hset", (value,), {}) for field in ("badge", "city")),
        ("email", "delete", (), {}),
        ("handle", "delete", (), {}),
        ("badge", "hdel", (), {}),
        ("title", "append", (value,), {}),
        ("title", "getset", (value,), {}),
        ("age", "hset", (number,), {}),
        ("age", "hincrby", (number,), {}),
        ("age", "hdel", (), {}),
        ("object", "hmset", (), {"city": value, "age": number}),
        ("object", "hmset", (), {"badge": value, "city": other}),
        ("object", "hdel", ("city", "age"), {}),
        ("tags", "sadd", (value, other), {}),
        ("tags", "srem", (value,), {}),
        ("tags", "spop", (), {}),
        ("log", "rpush", (value, other), {}),
        ("log", "lpop", (), {}),
        ("log", "lrem", (0, value), {}),
        ("marks", "zadd", (), {value: number}),
        ("marks", "zrem", (value,), {}),
        ("info", "hset", ("sub", value), {}),
        ("info", "hdel", ("sub",), {}),
        ("boss", "hset", (pk,), {}),
        ("boss", "hdel", (), {}),
        ("buddy", "set", (pk,), {}),
        ("friends", "sadd", (pk, chooser.choice(PKS)), {}),
        ("friends", "srem", (pk,), {}),
        ("chain", "rpush", (pk, pk), {}),
        ("chain", "lpop", (), {}),
        ("rated", "zadd", (), {pk: number}),
        ("object", "delete", (), {}),
        ("object", "delete", (), {}),
    ]
    if chooser.random() < 0.15:
        given: dict[str, Any] = {"email": value, "badge": other, "handle": value, "city": value, "title": other}
        given |= {"age": number, "note": value, "tags": [value, other], "log": [value, value], "info": {"sub": value}}
        given |= {"boss": pk, "buddy": pk, "friends": [pk, other], "chain": [pk, pk], "rated": {pk: number}}
        return "model", "create", (), {name: given[name] for name in chooser.sample(list(given), 5)}
    return chooser.choice(steps)


def run(library: Library, settings: dict[str, Any], db: int, seed: int, seconds: float) -> Done:
    """Carry out operations one after another, blocking."""
    chooser, ends = random.Random(seed), time.monotonic() + seconds
    model = make_account(library, library.connect(settings, db))
    done, errors = 0, []
    while time.monotonic() < ends:
        pk, (target, method, args, kwargs) = chooser.choice(PKS), step(chooser)
        try:
            if target == "model":
                if library is not OURS:  # limpyd takes no unique values together with a pk
                    kwargs = {name: value for name, value in kwargs.items() if name not in UNIQUE}
                model(code=pk, **kwargs)
            else:
                found = model.get(pk) if chooser.random() < 0.7 else model.lazy_connect(pk)
                for _ in range(chooser.randrange(1, 4)):  # the second time its value is known
                    getattr(found if target == "object" else getattr(found, target), method)(*args, **kwargs)
                    done += 1
        except (UniquenessError, DoesNotExist):
            pass
        except Exception as error:  # noqa: BLE001 - the test says what it makes of it
            errors.append(f"{target}.{method}{args}{kwargs}: {error!r}")
        done += 1
    return done, errors


async def run_tasks(settings: dict[str, Any], db: int, seed: int, seconds: float) -> Done:
    """Carry out operations in several tasks of one event loop, with the asyncio twins."""
    database = OURS.connect(settings, db)
    model = make_account(OURS, database)
    tasks = [_task(model, random.Random(seed + number), time.monotonic() + seconds) for number in range(4)]
    results = await asyncio.gather(*tasks)
    await database.aclose()
    return sum(done for done, _ in results), [error for _, errors in results for error in errors]


async def _task(model: Any, chooser: random.Random, ends: float) -> Done:
    done, errors = 0, []
    while time.monotonic() < ends:
        pk, (target, method, args, kwargs) = chooser.choice(PKS), step(chooser)
        try:
            if target == "model":
                await model.acreate(code=pk, **kwargs)
            else:
                found = await model.aget(pk) if chooser.random() < 0.7 else model.lazy_connect(pk)
                for _ in range(chooser.randrange(1, 4)):
                    on = found if target == "object" else getattr(found, target)
                    call: Callable[..., Awaitable[Any]] = getattr(on, f"a{method}")
                    await call(*args, **kwargs)
                    done += 1
        except (UniquenessError, DoesNotExist):
            pass
        except Exception as error:  # noqa: BLE001 - the test says what it makes of it
            errors.append(f"a{target}.{method}{args}{kwargs}: {error!r}")
        done += 1
    return done, errors
