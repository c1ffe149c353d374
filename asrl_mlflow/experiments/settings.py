"""The settings of boosting, for any loss and table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The settings of boosting, for any loss.

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
        """Give the settings as XGBoost's parameters."""
        return {"learning_rate": self.learning_rate, "max_depth": self.max_depth, "seed": seed}
