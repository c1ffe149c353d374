"""Define the errors that users can cause; the flows turn each into an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Invalid input from the user (exit code 2).

    The message is one line: who says so and the rule; what was got; the remedy. Flows print it
    without a traceback and end with exit code 2.
    """


class StoreError(RuntimeError):
    """The tracking store cannot be used, seen before anything was trained (exit code 3)."""


class StorageError(RuntimeError):
    """The storage of a study cannot be used (exit code 5); what it holds stays, and can be resumed."""


class ClusterError(RuntimeError):
    """A worker or the scheduler of a cluster is gone (exit code 7); what was checkpointed can be continued."""


def listed(names: Sequence[object], most: int = 5) -> str:
    """Names for an error's one line: quoted, and no more than `most` of them.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the known word that is most like a misspelt one; empty where none is like it.

    Examples
    --------
    >>> did_you_mean("hubre", ["asrl", "huber"])
    "did you mean 'huber'?"
    >>> did_you_mean("xyz", ["asrl", "huber"])
    ''
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
