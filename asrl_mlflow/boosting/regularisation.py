"""Parameters of trees that have the objective's unit: scaled with it while trees are built."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import xgboost

# What is scaled with the objective, under the names of XGBoost's config.
_SCALED = ("reg_lambda", "reg_alpha", "gamma", "min_child_weight")


class Regularisation:
    """The parameters of trees that have the objective's unit: multiplied while trees are built.

    Parameters
    ----------
    factor : float
        What they are multiplied by.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._given: Mapping[str, float] = {}

    def scale(self, booster: xgboost.Booster) -> None:
        """Have the booster use what it has now, multiplied."""
        if self._factor != 1:
            self._given = _of_trees(booster)
            booster.set_param({name: self._factor * each for name, each in self._given.items()})

    def restore(self, booster: xgboost.Booster) -> None:
        """Have the booster use them as they were given."""
        if self._factor != 1:
            booster.set_param(dict(self._given))

    @contextmanager
    def as_given(self, booster: xgboost.Booster) -> Iterator[None]:
        """Show the booster to somebody who may keep a copy of it, or change its parameters."""
        self.restore(booster)
        try:
            yield
        finally:
            self.scale(booster)


def _of_trees(booster: xgboost.Booster) -> Mapping[str, float]:
    config = json.loads(booster.save_config())["learner"]["gradient_booster"]
    trees = config.get("gbtree", config)["tree_train_param"]  # DART's are in a gbtree
    return {name: float(trees[name]) for name in _SCALED}
