"""Runs the examples of README.md, docs/ and the docstrings: ``make examples``.

A page is one program: its ``python`` blocks run in order in one namespace, which starts empty. The first block makes what
the page uses, such as an embedded server. A block that cannot be run follows a ``skip: next`` comment with the reason.
"""

from __future__ import annotations

import pytest
from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The blocks of a page build on one another, so random order is not for them.
    examples = [item for item in items if isinstance(item, SybilItem)]
    in_order = iter(sorted(examples, key=lambda item: (item.path, item.example.line)))
    items[:] = [next(in_order) if isinstance(item, SybilItem) else item for item in items]


pages = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    setup=lambda namespace: namespace.update(__name__="page"),  # frameworks ask a module for its name
)
docstrings = Sybil(
    parsers=[DocTestParser()],
    patterns=["tenantlimpyd/*.py", "tenantlimpyd/**/*.py"],
    document_types={".py": PythonDocStringDocument},
)

pytest_collect_file = (pages + docstrings).pytest()
