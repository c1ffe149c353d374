"""Settings of the pages: Sphinx builds them from Markdown and from the docstrings, without a network."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import loss_page  # noqa: E402 - found by the line above

project = "asrl-mlflow"
author = "the authors of asrl-mlflow"
copyright = "the authors of asrl-mlflow, Apache-2.0"  # noqa: A001 - Sphinx's name
version = release = installed("asrl-mlflow")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # links to headings of other pages, checked
# Notebooks are kept without outputs and run here: a page cannot show what the code no longer does.
nb_execution_mode = "force"
nb_execution_in_temp = True  # where their MLflow store is left
nb_execution_raise_on_error = True
nb_execution_timeout = 180  # seconds a cell, on a busy machine
nb_output_stderr = "remove"
highlight_language = "text"
default_role = "code"  # docstrings mark code with single backticks

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc sections tell types, shapes, units and intervals
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


def show_bars(app, what, name, value, options, lines):
    """Show |r| in docstrings as it is; reStructuredText would take it for a substitution."""
    lines[:] = [
        re.sub(r"(?<!\\)\|", r"\\|", line) if not line.lstrip().startswith((">>>", "...")) else line
        for line in lines
    ]


def setup(app):
    """Hear of each docstring before Sphinx parses it; draw the losses."""
    app.connect("autodoc-process-docstring", show_bars)
    loss_page.write(Path(__file__).parent / "reference" / "_losses")


html_theme = "furo"  # fonts of the reader's system, nothing from elsewhere
html_title = f"asrl-mlflow {release}"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
