"""Class names are unique in the package."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import tenantlimpyd

PACKAGE = Path(tenantlimpyd.__file__).parent
SAME_FOR_ASGI_AND_WSGI = {"HealthMiddleware", "TenantMiddleware"}
"""Applications import them from the module of their interface."""


def test_class_names_are_unique():
    places = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].add(path.relative_to(PACKAGE).as_posix())
    assert len(places) > 200
    assert {
        name: found for name, found in places.items() if len(found) > 1 and name not in SAME_FOR_ASGI_AND_WSGI
    } == {}
    for name in SAME_FOR_ASGI_AND_WSGI:
        assert places[name] == {"middleware/asgi.py", "middleware/wsgi.py"}
