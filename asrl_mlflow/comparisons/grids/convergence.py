"""How fast methods learn: the test MAE after each boosting round, against rounds and against seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from asrl_mlflow.comparisons.grids.cells import Judged
from asrl_mlflow.comparisons.grids.results import Results, Setting
from asrl_mlflow.residuals import FloatArray

# So near to its smallest MAE a method counts as converged.
NEAR = 1.02


class Curve(NamedTuple):
    """How one method learns under one setting.

    Parameters
    ----------
    errors : float64 array of shape (rounds,)
        Test MAE after each round, the mean over the seeds.
    round_seconds : float
        Seconds of a round, the mean over the seeds.
    """

    errors: FloatArray
    round_seconds: float

    @property
    def best(self) -> int:
        """The number of rounds after which the error is smallest."""
        return int(self.errors.argmin()) + 1

    @property
    def near(self) -> int:
        """The number of rounds after which the error is first within 2% of the smallest.

        Examples
        --------
        >>> Curve(np.array([4.0, 2.0, 1.01, 1.0, 1.2]), 0.1).near
        3
        """
        return int(np.argmax(self.errors <= NEAR * self.errors.min())) + 1


@dataclass(frozen=True)
class Convergence:
    """How every method learns under every setting.

    Parameters
    ----------
    curves : mapping of Setting to {method: Curve}
        Of the seeds that every method has.
    """

    curves: Mapping[Setting, Mapping[str, Curve]]

    @classmethod
    def of(cls, results: Results, judged: Iterable[Judged]) -> Convergence:
        """Collect the curves of what was judged, of the settings and seeds that results have."""
        found: dict[Setting, dict[str, list[Judged]]] = {}
        for each in judged:
            cell = each.cell
            setting = Setting.of(cell)
            frame = results.errors.get(setting)
            if frame is not None and cell.seed in frame.index:
                found.setdefault(setting, {}).setdefault(cell.method, []).append(each)
        return cls(
            {
                setting: {
                    method: Curve(
                        np.mean([each.curve for each in cells], axis=0),
                        float(np.mean([each.metrics["round_seconds"] for each in cells])),
                    )
                    for method, cells in methods.items()
                }
                for setting, methods in found.items()
            }
        )

    def table(self, results: Results) -> pd.DataFrame:
        """Give a row a setting and method: its smallest test MAE, and what it takes to come within 2% of it."""
        rows = [
            {
                "setting": results.label(setting),
                "method": method,
                "smallest test MAE": float(curve.errors.min()),
                "after rounds": curve.best,
                "within 2% after rounds": curve.near,
                "and seconds": curve.near * curve.round_seconds,
            }
            for setting, methods in self.curves.items()
            for method, curve in methods.items()
        ]
        return pd.DataFrame(rows)
