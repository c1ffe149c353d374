"""The settings of boosting, for any loss and table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asrl_mlflow.errors import InputError


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
        Stop when the validation metric (MAE, or log loss) has not improved for so many rounds.
    figures : bool
        Whether to draw a run's figures.

    Raises
    ------
    InputError
        A number outside its interval.
    """

    rounds: int = 100
    learning_rate: float = 0.1
    max_depth: int = 6
    early_stopping_rounds: int | None = None
    figures: bool = True

    def __post_init__(self) -> None:
        _check_whole("rounds", self.rounds)
        _check_whole("max_depth", self.max_depth)
        if self.early_stopping_rounds is not None:
            _check_whole("early_stopping_rounds", self.early_stopping_rounds)
        if not 0 < self.learning_rate <= 1:
            msg = f"Boosting needs 0 < learning_rate <= 1; got {self.learning_rate}; pass 0.1, say."
            raise InputError(msg)

    def booster_params(self, seed: int) -> dict[str, Any]:
        """Give the settings as XGBoost's parameters."""
        return {"learning_rate": self.learning_rate, "max_depth": self.max_depth, "seed": seed}


def _check_whole(name: str, number: object) -> None:
    """Refuse what is not a whole number of at least 1."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        msg = f"Boosting needs a whole number of {name}, at least 1; got {number!r}; pass 6, say."
        raise InputError(msg)
