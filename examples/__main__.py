"""``python -m examples NAME``: serve one of the applications on loopback, with two tenants on a server of its own."""

from __future__ import annotations

import argparse
import contextlib
import importlib
from wsgiref.simple_server import make_server

import uvicorn

from examples import APPLICATIONS, WSGI
from examples.notes import router
from tenantlimpyd import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument("name", choices=APPLICATIONS)
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0: a free one")
    given = parser.parse_args()
    module, attribute = APPLICATIONS[given.name].split(":")
    with EmbeddedServer() as server, router:
        for number, tenant in enumerate(("acme", "globex"), start=1):
            router.add(tenant, RedisDatabase(**server.settings, db=number))
        app = getattr(importlib.import_module(module), attribute)
        if given.name in WSGI:
            with contextlib.suppress(KeyboardInterrupt), make_server("127.0.0.1", given.port, app) as serving:
                print(f"http://127.0.0.1:{serving.server_port}", flush=True)
                serving.serve_forever()
        else:
            uvicorn.run(app, host="127.0.0.1", port=given.port)


if __name__ == "__main__":
    main()
