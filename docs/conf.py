"""Settings of the documentation's build: ``make docs``."""

from __future__ import annotations

import collections.abc
import typing
from importlib.metadata import version as installed
from typing import Any

project = "tenantlimpyd"
author = "tenantlimpyd contributors"
copyright = author  # noqa: A001 - Sphinx's name
release = installed(project)
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# Return types are shown everywhere, types of arguments where the arguments are described.
autodoc_typehints_description_target = "documented_params"
copybutton_prompt_text = "$ "  # is not copied

napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of attrs classes and named tuples are described once

# A name of ours that leads nowhere is an error. Names of Python's and of other libraries stay plain text: linking them
# needs their inventories, and a build that reads other sites fails when they do.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!tenantlimpyd(\.|$)).*"),
    (r"py:.*", r"tenantlimpyd\.(.*\.)?[A-Z](\.(args|kwargs))?"),  # type variables
    (r"py:.*", r"tenantlimpyd\..*\.ModelHost"),  # the base class of RedisDatabase and DatabaseRouter
]


def show_result_of_operation(app: Any, method: Any, bound: bool) -> None:
    """Give the two methods of an operation the return type that callers see, not that of the generator they run."""
    body = getattr(method, "__wrapped__", None)
    if body is None:
        return
    try:
        returned = typing.get_type_hints(body).get("return")
    except NameError:  # imported for type checkers only
        return
    if typing.get_origin(returned) is collections.abc.Generator:
        result = typing.get_args(returned)[2]
        if method.__name__ == f"a{body.__name__.lstrip('_')}":
            result = collections.abc.Awaitable[result]
        method.__annotations__ = {**method.__annotations__, "return": result}


def setup(app: Any) -> None:
    app.connect("autodoc-before-process-signature", show_result_of_operation)
