"""Stop a training when nothing improves, and cut the model behind its best round."""

from __future__ import annotations

import json
from typing import Any

import xgboost


class CutAtBest(xgboost.callback.TrainingCallback):
    """Stop when nothing improves, and return the model of the best round.

    Parameters
    ----------
    rounds : int
        Patience.
    data_name : str
        The entry of `evals` that decides, by its last metric.
    maximize : bool, optional
        Whether larger is better; without it XGBoost decides by the metric's name.
    """

    def __init__(self, rounds: int, data_name: str, *, maximize: bool | None) -> None:
        super().__init__()
        self._stopping = xgboost.callback.EarlyStopping(
            rounds=rounds, data_name=data_name, maximize=maximize, save_best=False
        )

    def before_training(self, model: Any) -> Any:  # noqa: ANN401 - XGBoost's signature
        """Hand on to XGBoost's own callback."""
        return self._stopping.before_training(model)

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401 - XGBoost's signature
        """Hand on to XGBoost's own callback."""
        return bool(self._stopping.after_iteration(model, epoch, evals_log))

    def after_training(self, model: Any) -> Any:  # noqa: ANN401 - XGBoost's signature
        """Cut behind the best round, if any was judged."""
        if not self._stopping.stopping_history:
            return model
        cut = model[: model.best_iteration + 1]
        cut.set_attr(
            best_iteration=model.attr("best_iteration"), best_score=model.attr("best_score")
        )
        return cut


def with_categories(model: xgboost.Booster, whole: xgboost.Booster) -> xgboost.Booster:
    """A part of a booster, with the categories that the whole one knows.

    XGBoost before 3.4 drops them from slices, which then take categories in another order for others.
    """
    if model is whole or "c" not in (whole.feature_types or ()):
        return model
    part, known = (json.loads(bytes(each.save_raw("json"))) for each in (model, whole))
    inside, outside = (_trees(each) for each in (part, known))
    if inside["cats"] != outside["cats"]:
        inside["cats"] = outside["cats"]
        config = model.save_config()
        model.load_model(bytearray(json.dumps(part).encode()))
        model.load_config(config)
    return model


def _trees(model: dict[str, Any]) -> dict[str, Any]:
    booster = model["learner"]["gradient_booster"]
    trees: dict[str, Any] = booster.get("gbtree", booster)["model"]  # DART's are in a gbtree
    return trees
