"""How far a training has come, and what is decided once in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Progress:
    """How far a training has come, and what was decided once in it.

    Parameters
    ----------
    left : float, in [0, 1]
        The share of the start's residuals that its rounds so far would have left, had each tree fitted
        them perfectly: the product of (1 - learning rate) over the rounds. 1 where nobody tells.
    kept : dict of str to float
        What `once` has computed.
    owner : str
        Stands in front of the names there: each target of several decides for itself.

    Examples
    --------
    >>> progress = Progress(left=0.5)
    >>> progress.once("scale", lambda: 2.0), progress.once("scale", lambda: 3.0)
    (2.0, 2.0)
    >>> progress.reached(0.5), Progress().reached(1.0)
    (True, False)
    """

    left: float = 1.0
    kept: dict[str, float] = field(default_factory=dict, compare=False)
    owner: str = ""

    def reached(self, left: float) -> bool:
        """Check whether so little is left: not before the first round, nor where nobody tells."""
        return self.left < 1 and self.left <= left

    def once(self, name: str, compute: Callable[[], float]) -> float:
        """Compute a number where it is first asked for; answer the same later on in the training."""
        name = self.owner + name
        if name not in self.kept:
            self.kept[name] = compute()
        return self.kept[name]

    def of_target(self, number: int) -> Progress:
        """Tell one target of several: what it decides is kept beside what the others do.

        Examples
        --------
        >>> progress = Progress()
        >>> progress.of_target(0).once("scale", lambda: 2.0)
        2.0
        >>> progress.of_target(1).once("scale", lambda: 5.0), progress.kept
        (5.0, {'0.scale': 2.0, '1.scale': 5.0})
        """
        return replace(self, owner=f"{number}.")
