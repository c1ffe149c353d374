"""How far a training has come: counted round by round, and recorded in the booster for the next one."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import xgboost

from asrl_mlflow.residuals.progress import Progress

# An attribute of the booster, as JSON: after how many rounds how much of the start is left, and what was
# decided once, with the rounds that it was decided after.
PROGRESS_ATTRIBUTE = "asrl_progress"

# Of trees and of linear boosters alike.
_LEARNING_RATE = re.compile(r'"learning_rate":"([^"]+)"')


class Pace:
    """Count what the rounds of a training leave of its start, and keep what is decided once.

    Parameters
    ----------
    model : Booster
        As the training begins, with its parameters.
    source : Booster, optional
        The model that it goes on from, where that is no file.
    keeps : bool
        Whether the training goes on with the loss for which the model has decided something.
    is_watched : bool
        Whether a listener may change the learning rate.

    Notes
    -----
    The model is where its record says; rounds without a record (XGBoost's own, or of a model from before
    there was one) count with the smaller of its own learning rate and the training's, as a model that was
    loaded from a file always has XGBoost's 0.3, and a loss that decides too early decides badly.
    """

    def __init__(
        self,
        model: xgboost.Booster,
        source: xgboost.Booster | None,
        *,
        keeps: bool,
        is_watched: bool,
    ) -> None:
        self._first = model.num_boosted_rounds()
        self._is_watched, self._is_asked = is_watched, False
        record: dict[str, Any] = json.loads(model.attr(PROGRESS_ATTRIBUTE) or "{}")
        rounds, left = record.get("rounds", 0), record.get("left", 1.0)
        if rounds < self._first:
            rates = [learning_rate(each) for each in (model, source) if each is not None]
            left *= max(0.0, 1 - min(rates)) ** (self._first - rounds)
        elif rounds > self._first:  # somebody has cut the model
            left **= self._first / rounds
        # One more than rounds of this training.
        self._left = [left]
        self._since: dict[str, int] = {}
        self._kept: dict[str, float] = {}
        for name, (since, value) in record.get("kept", {}).items() if keeps else ():
            # Of a cut model, what it had not decided yet is decided again.
            if since <= self._first:
                self._since[name], self._kept[name] = since, value
        self._rate: float | None = None

    def progress(self) -> Progress:
        """Tell a loss how far the training has come."""
        self._is_asked = True
        return Progress(self._left[-1], self._kept)

    def count(self, model: xgboost.Booster) -> None:
        """Count the round whose tree was just added."""
        before = self._first + len(self._left) - 1
        for name in self._kept.keys() - self._since.keys():
            self._since[name] = before
        # To ask takes some 0.1 ms: it is done once where nobody can have changed the rate, or cares.
        if self._rate is None or (self._is_watched and self._is_asked):
            self._rate = learning_rate(model)
        self._left.append(self._left[-1] * max(0.0, 1 - self._rate))
        if self._is_watched and self._is_asked:
            self.record(model)  # a listener may save it

    def record(self, model: xgboost.Booster) -> None:
        """Write into a model, which may have been cut, how far it has come."""
        rounds = model.num_boosted_rounds()
        at = rounds - self._first
        is_known = self._is_asked or not self._is_watched
        if not 0 <= at < len(self._left) or (at > 0 and not is_known):
            return  # what it has recorded is true of the rounds before
        kept = {
            name: (since, float(self._kept[name]))
            for name, since in self._since.items()
            if since <= rounds
        }
        progress = {"rounds": rounds, "left": self._left[at], "kept": kept}
        model.set_attr(**{PROGRESS_ATTRIBUTE: json.dumps(progress)})


class Onlooker(xgboost.callback.TrainingCallback):
    """A callback that neither changes a model nor keeps it."""


def learning_rate(model: xgboost.Booster) -> float:
    """Read the learning rate that a booster of some matrix or file has now.

    Examples
    --------
    >>> matrix = xgboost.DMatrix(np.ones((1, 1)), label=[1.0])
    >>> learning_rate(xgboost.Booster({"eta": 0.1}, [matrix]))
    0.1
    """
    found = _LEARNING_RATE.search(model.save_config())
    # XGBoost keeps a float32: its shortest digits are those that it was given.
    return float(str(np.float32(found[1]))) if found else 0.3
