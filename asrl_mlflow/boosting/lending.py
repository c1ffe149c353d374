"""Changes to a user's matrices during trainings: allow them, refuse conflicts, undo them.

A training that changes labels, weights or margins of a matrix gives it back as it was. Meanwhile
another one, in another thread or inside a callback, may use the same matrix as long as it does not
rely on what is changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.errors import InputError

Float32Array = npt.NDArray[np.float32]

# All that a training may rely on or change.
INFO = frozenset({"label", "weight", "base_margin"})


@dataclass(eq=False)
class _Use:
    """One training's use of a matrix."""

    relied_on: frozenset[str]
    own: dict[str, Float32Array] = field(default_factory=dict)

    def is_at_odds_with(self, other: _Use) -> bool:
        return bool(self.own.keys() & (other.relied_on | other.own.keys())) or bool(
            other.own.keys() & self.relied_on
        )


_uses: WeakKeyDictionary[Any, list[_Use]] = WeakKeyDictionary()
_lock = threading.RLock()


def user_info(matrix: xgboost.DMatrix, name: str) -> Float32Array:
    """Read the label, weight or base_margin that the user set, also while a training has changed it."""
    with _lock:
        for use in _uses.get(matrix, ()):
            if name in use.own:
                return use.own[name]
        values: Float32Array = matrix.get_float_info(name)
    rows = matrix.num_row()
    # Before XGBoost 3.2 several columns come as one.
    is_flat = name != "weight" and values.ndim == 1 and values.size > rows > 0
    return values.reshape(rows, -1) if is_flat else values


@contextmanager
def lend(
    matrix: xgboost.DMatrix,
    *,
    relied_on: frozenset[str] = INFO,
    changed: Mapping[str, Float32Array] | None = None,
) -> Iterator[None]:
    """Lend a matrix to a training for the block; afterwards it is as it was.

    Parameters
    ----------
    matrix : DMatrix
        The user's.
    relied_on : set of "label", "weight", "base_margin"
        What must stay as the user set it, but for what this training changes.
    changed : mapping, optional
        What stands instead of the user's at first; the training may change it again.

    Raises
    ------
    InputError
        Another training has changed what this one relies on, or relies on what it would change.

    Examples
    --------
    >>> matrix = xgboost.DMatrix(np.ones((2, 1)), label=[1.0, 2.0])
    >>> with lend(matrix, changed={"weight": np.float32([3, 4])}):
    ...     matrix.get_weight(), user_info(matrix, "weight")
    (array([3., 4.], dtype=float32), array([], dtype=float32))
    >>> matrix.get_weight()
    array([], dtype=float32)
    """
    changed = changed or {}
    use = _Use(relied_on)
    with _lock:
        others = _uses.setdefault(matrix, [])
        use.own = {name: user_info(matrix, name) for name in changed}
        if any(use.is_at_odds_with(other) for other in others):
            msg = (
                "A matrix whose targets, weights or margins a training must change serves one at a "
                "time; got a second training on it; give each its own matrix."
            )
            raise InputError(msg)
        others.append(use)
    try:
        for name, values in changed.items():
            matrix.set_float_info(name, values)
        yield
    finally:
        with _lock:
            for name, values in use.own.items():
                matrix.set_float_info(name, values)
            others.remove(use)
