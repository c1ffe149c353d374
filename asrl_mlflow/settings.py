"""What an experiment is told besides loss and table: how to boost, and how targets are spoiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asrl_mlflow.splits import ContaminationKind


@dataclass(frozen=True)
class Settings:
    """How to boost, whatever the loss.

    Parameters
    ----------
    rounds : int, >= 1
        Boosting rounds, at most.
    learning_rate : float, in (0, 1]
        Shrinkage of each tree.
    max_depth : int, >= 1
        Depth of each tree.
    early_stopping_rounds : int, optional
        Stop when the validation MAE has not improved for so many rounds.
    figures : bool
        Whether to draw a run's figures.
    """

    rounds: int = 100
    learning_rate: float = 0.1
    max_depth: int = 6
    early_stopping_rounds: int | None = None
    figures: bool = True

    def booster_params(self, seed: int) -> dict[str, Any]:
        """XGBoost's parameters."""
        return {"learning_rate": self.learning_rate, "max_depth": self.max_depth, "seed": seed}


@dataclass(frozen=True)
class Contamination:
    """How training and validation targets are spoiled on purpose.

    Parameters
    ----------
    kind : {"none", "sym", "asym", "cauchy"}
        As in `splits.contaminate`.
    share : float, in [0, 1]
        Share of the rows.
    """

    kind: ContaminationKind = "none"
    share: float = 0.0

    def told(self) -> str:
        """What to add to a title: nothing where nothing was spoiled.

        Examples
        --------
        >>> Contamination("asym", 0.2).told()
        '; 20% of the training targets spoiled (asym), test targets clean'
        """
        if self.kind == "none":
            return ""
        share = f"{self.share:.0%} of the" if self.share else "all"
        return f"; {share} training targets spoiled ({self.kind}), test targets clean"

    def params(self) -> dict[str, object]:
        """Under the keys that MLflow shows."""
        return {"contaminate.kind": self.kind, "contaminate.share": self.share}
