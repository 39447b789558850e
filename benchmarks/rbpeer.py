"""rb, Disqus's router for Redis, in an environment of its own: it fails on redis-py 5 and later.

Run by this file's name inside that environment, it walks, and prints the seconds of each walk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

REQUIREMENTS = ("rb==1.11.0", "redis<5", "hiredis<3")


def walked(places: list[tuple[str, int, int]], match: str, count: int, total: int, rounds: int = 3) -> float | str:
    """Return the fewest seconds rb needs for a walk, or why that can't be told."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            venv.create(folder, with_pip=True)
            python = Path(folder, "bin", "python")
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
            subprocess.run(install, check=True, capture_output=True, timeout=180)
            order = json.dumps({"places": places, "match": match, "count": count, "total": total, "rounds": rounds})
            run = subprocess.run(
                [python, __file__], input=order, check=True, capture_output=True, text=True, timeout=300
            )
            return min(map(float, run.stdout.split()))
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode() if isinstance(error.stderr, bytes) else error.stderr
            return f"rb can't be run: {(said.strip().splitlines() or ['no reason given'])[-1]}"
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            return f"rb can't be run: {error}"


def main() -> None:
    import rb

    order = json.load(sys.stdin)
    hosts = {number: {"host": host, "port": port, "db": db} for number, (host, port, db) in enumerate(order["places"])}
    cluster = rb.Cluster(hosts)
    for _ in range(order["rounds"]):
        started = time.perf_counter()
        found = 0
        cursors = dict.fromkeys(hosts, 0)
        while cursors:
            with cluster.fanout() as client:
                promises = {
                    number: client.target([number]).execute_command(
                        "SCAN", cursor, "MATCH", order["match"], "COUNT", order["count"]
                    )
                    for number, cursor in cursors.items()
                }
            for number, promise in promises.items():
                cursor, keys = promise.value[number]
                found += len(keys)
                if int(cursor):
                    cursors[number] = int(cursor)
                else:
                    del cursors[number]
        if found < order["total"]:
            raise AssertionError(f"{found} keys of {order['total']}")
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
