"""Show values in notebooks: a card has a title, a sentence, facts, tables and a picture, and no script.

What a card says comes from the room of the value, in its `_repr_html_`. Imports jinja2 only, so that every
room may have cards.
"""

from __future__ import annotations

from asrl_mlflow.cards.card import Card, CardTable

__all__ = ["Card", "CardTable"]
