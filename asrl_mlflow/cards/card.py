"""Write a card as a piece of HTML that suits a light and a dark page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup


@dataclass(frozen=True)
class CardTable:
    """A table of a card.

    Parameters
    ----------
    caption : str
        What it has.
    headings : sequence of str
        One a column.
    rows : sequence of sequence of str
        The cells, from left to right; the first names the row.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Card:
    """What a notebook shows of a value.

    Parameters
    ----------
    title : str
        Its name.
    sentence : str
        What it is, or what was found.
    facts : mapping of str to str
        Names and values, a line each.
    tables : sequence of CardTable
        Below the facts.
    picture : str
        An SVG as `figures.style.svg` writes it, which is trusted; all other text is escaped.
    """

    title: str
    sentence: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[CardTable] = ()
    picture: str = ""

    def html(self) -> str:
        """Write the card as HTML, without a script, which loads nothing.

        Examples
        --------
        >>> text = Card("a<b", facts={"trials": "7"}).html()
        >>> "a&lt;b" in text, "<td>7</td>" in text, "<script" in text
        (True, True, False)
        """
        return _template().render(card=self, picture=Markup(self.picture))  # noqa: S704 - see `picture`


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = (resources.files(__package__) / "card.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(text)
