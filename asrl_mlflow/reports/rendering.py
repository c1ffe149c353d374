"""Render a page as one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from asrl_mlflow.reports.content import Page

_FILES = resources.files(__package__)


def render(page: Page) -> str:
    """Render a page as HTML text.

    Parameters
    ----------
    page : Page
        What it says.

    Examples
    --------
    >>> text = render(Page("compare a<b", ["huber is best."], {"data": "mine"}, [], []))
    >>> "<h1>compare a&lt;b</h1>" in text, "huber is best." in text
    (True, True)
    """
    return _template().render(page=page)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = _json
    environment.globals.update(
        style=_text("page.css"),
        script=_text("page.js"),
        # Without its last line, by which a browser's developer tools would ask for another file.
        chart_library=_text("chart.umd.min.js").partition("//# sourceMappingURL")[0],
    )
    return environment.from_string(_text("page.html.jinja"))


def _json(data: Any) -> Markup:  # noqa: ANN401 - what JSON can hold
    """Write JSON that may stand in a script: nothing in it ends the script, and nan is null."""
    return htmlsafe_json_dumps(_without_nan(data), allow_nan=False, separators=(",", ":"))


def _without_nan(data: Any) -> Any:  # noqa: ANN401 - what JSON can hold
    if isinstance(data, Mapping):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _text(name: str) -> Markup:
    """Read a file of this folder; it is part of the page as it stands."""
    return Markup((_FILES / name).read_text(encoding="utf-8"))  # noqa: S704 - our own files
