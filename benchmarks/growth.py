"""How a walk's cost grows with the number of tenants: seconds and memory, as a table and as a picture."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import attrs
import redis

TENANTS = (10, 100, 1_000, 10_000)


@attrs.frozen
class Point:
    """One number of tenants.

    Attributes:
        tenants: how many.
        keys: of all of them.
        seconds: of a walk by page, the fewest of several.
        kilobytes: what a walk has at most at once, above what the router has.
        connections: how many it opened.
    """

    tenants: int
    keys: int
    seconds: float
    kilobytes: float
    connections: int


def measured(tenants: int, each: int, rounds: int = 5) -> Point:
    """Measure in this process, on a server of its own."""
    from tenantlimpyd import DatabaseRouter, RedisDatabase
    from tenantlimpyd.embedded import EmbeddedServer

    with EmbeddedServer(databases=tenants) as server, redis.Redis(**server.settings) as client:
        fill(client, tenants, each)
        databases = {f"t{db}": RedisDatabase(**server.settings, db=db) for db in range(tenants)}
        with DatabaseRouter(databases) as router:
            before = client.info("stats")["total_connections_received"]
            seconds = []
            for _ in range(rounds):
                started = time.perf_counter()
                found = sum(len(keys) for _tenant, keys in router.scan_pages())
                seconds.append(time.perf_counter() - started)
                if found < tenants * each:
                    raise AssertionError(f"{found} keys of {tenants * each}")
            connections = client.info("stats")["total_connections_received"] - before
            tracemalloc.start()
            for _tenant, _keys in router.scan_pages():
                pass
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    return Point(tenants, tenants * each, min(seconds), peak / 1024, connections)


def fill(client: redis.Redis, databases: int, each: int) -> None:
    """Set so many keys in so many databases."""
    for start in range(0, databases, 500):
        pipeline = client.pipeline(transaction=False)
        for db in range(start, min(databases, start + 500)):
            pipeline.execute_command("SELECT", db)
            pipeline.mset({f"invoice:{key}:number": key for key in range(each)})
        pipeline.execute()


def grown(each: int) -> list[Point]:
    """Measure every number of tenants, each in a process of its own."""
    points = []
    for tenants in TENANTS:
        run = subprocess.run(
            [sys.executable, "-m", __name__, str(tenants), str(each)], check=True, capture_output=True, text=True
        )
        points.append(Point(**json.loads(run.stdout)))
    return points


def picture(points: list[Point]) -> str:
    """Return the points as an SVG picture, both axes logarithmic: seconds above, kilobytes a tenant below."""
    return "\n".join([
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 250" font-family="sans-serif" font-size="12">',
        *_panel(40, "seconds for a walk", points, [point.seconds for point in points]),
        *_panel(360, "memory of a walk, kB", points, [point.kilobytes for point in points]),
        "</svg>",
        "",
    ])  # fmt: skip


def _panel(left: int, title: str, points: list[Point], values: list[float]) -> list[str]:
    from math import log10

    low, high = min(map(log10, values)), max(map(log10, values))
    span = max(high - low, 1.0)
    spots = [
        (left + 30 + 70 * log10(point.tenants / points[0].tenants), 200 - 150 * (log10(value) - low) / span)
        for point, value in zip(points, values, strict=True)
    ]
    drawn = [f'<text x="{left}" y="20" font-weight="bold">{title}</text>']
    drawn.append(f'<path d="M{left} 40V210H{left + 260}" fill="none" stroke="#888"/>')
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in spots)
    drawn.append(f'<polyline points="{line}" fill="none" stroke="#2a6fb0" stroke-width="2"/>')
    for (x, y), point, value in zip(spots, points, values, strict=True):
        drawn.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="#2a6fb0"/>')
        drawn.append(f'<text x="{x:.0f}" y="{y - 8:.0f}" text-anchor="middle">{value:,.3g}</text>')
        drawn.append(f'<text x="{x:.0f}" y="226" text-anchor="middle">{point.tenants:,}</text>')
    drawn.append(f'<text x="{left + 130}" y="244" text-anchor="middle">tenants</text>')
    return drawn


def draw(points: list[Point], path: Path) -> None:
    """Write the picture."""
    path.write_text(picture(points))


if __name__ == "__main__":
    print(json.dumps(attrs.asdict(measured(int(sys.argv[1]), int(sys.argv[2])))))
