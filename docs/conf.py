"""Settings of the documentation's build: ``make docs``."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "tenantlimpyd"
author = "tenantlimpyd contributors"
copyright = author  # noqa: A001 - Sphinx's name
release = installed(project)
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of attrs classes and named tuples are described once

# A name of ours that leads nowhere is an error. Names of Python's and of other libraries stay plain text: linking them
# needs their inventories, and a build that reads other sites fails when they do.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!tenantlimpyd(\.|$)).*"),
    (r"py:.*", r"tenantlimpyd\.(.*\.)?[A-Z](\.(args|kwargs))?"),  # type variables
]
