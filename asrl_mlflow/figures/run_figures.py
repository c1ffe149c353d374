"""Choose and draw the figures of one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import xgboost
from matplotlib.figure import Figure

from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.figures import class_figures, loss_figures, model_figures
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import BaseLoss, ClassificationLoss, LogLoss
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.rounds import Round


def draw_run(
    loss: BaseLoss,
    booster: xgboost.Booster,
    test: Rows,
    prediction: npt.NDArray[np.floating],
    rounds: Sequence[Round],
    last: Round,
    context: str,
    *,
    valid: Rows | None,
    calibration: npt.NDArray[np.float64],
) -> Iterator[tuple[str, bytes]]:
    """Draw the figures of a run, one after another, as (name, bytes of a PNG file).

    Parameters
    ----------
    loss : BaseLoss
        The loss that was minimised.
    booster : xgboost.Booster
        The model that was trained.
    test : Rows
        Rows by which the model is judged.
    prediction : array of shape (n,) or (n, K)
        Of the test rows, in target units; for classes the probability of each.
    rounds : sequence of Round
        All rounds that were trained.
    last : Round
        The last round that the booster keeps.
    context : str
        Which loss, table and seed it is about; stands above each figure.
    valid : Rows, optional
        Rows that it neither learned from nor is judged by. Without, figures of them are left out.
    calibration : float64 array of shape (m,)
        Errors of rows that it did not learn from, as the loss measures them; empty where there are
        none, and no figure of intervals then.
    """
    draw = _draw_class_run if isinstance(loss, ClassificationLoss) else _draw_number_run
    figures = draw(loss, booster, test, prediction, rounds, last, context, valid, calibration)
    for file, figure in figures.items():
        if figure is not None:
            yield file, png(figure)


def _draw_gains(booster: xgboost.Booster, name: str, context: str) -> Figure | None:
    """Draw which features the trees gained from."""
    gains = {
        # A number for trees, a list for linear models, which nobody draws here.
        feature: float(np.sum(gain))
        for feature, gain in booster.get_score(importance_type="total_gain").items()
    }
    return model_figures.draw_feature_importance(gains, name, context)


def _draw_class_run(
    loss: BaseLoss,
    booster: xgboost.Booster,
    test: Rows,
    prediction: npt.NDArray[np.floating],
    rounds: Sequence[Round],
    last: Round,
    context: str,
    valid: Rows | None,
    calibration: npt.NDArray[np.float64],
) -> dict[str, Figure | None]:
    """Draw the figures of a run that learned classes."""
    if not isinstance(loss, ClassificationLoss):  # says the same to type checkers
        return {}
    plain: ClassificationLoss = LogLoss()
    before = plain.predict(booster.inplace_predict(test.features, predict_type="margin"))
    # A set always has the predicted class: a row of that class is inside whatever the level.
    is_right = prediction.argmax(axis=1) == test.target
    costs = np.where(is_right, 0.0, loss.row_errors(test.target, prediction))
    task = TASKS[loss.task]
    figures = {
        "reliability": class_figures.draw_reliability(
            test.target,
            before,
            prediction,
            loss.name,
            context,
            "probabilities" if loss.IS_PROPER else "corrected for the loss",
        ),
        "confusion": class_figures.draw_confusion(test.target, prediction, test.classes, context),
        "loss_shape": class_figures.draw_margin_loss(loss, context),
        "feature_importance": _draw_gains(booster, loss.name, context),
        "set_calibration": model_figures.draw_interval_calibration(
            calibration, costs, loss.name, context, "sets"
        ),
    }
    if valid is not None:
        titles = {name: task.titles[name] for name in task.reported}
        figures["learning_curves"] = model_figures.draw_learning_curves(
            rounds, last.number, loss.name, context, titles
        )
    return figures


def _draw_number_run(
    loss: BaseLoss,
    booster: xgboost.Booster,
    test: Rows,
    prediction: npt.NDArray[np.floating],
    rounds: Sequence[Round],
    last: Round,
    context: str,
    valid: Rows | None,
    calibration: npt.NDArray[np.float64],
) -> dict[str, Figure | None]:
    """Draw the figures of a run that learned numbers."""
    name = loss.name
    size = np.abs(test.target - prediction)
    figures = {
        "predicted_against_actual": model_figures.draw_predicted_against_actual(
            test.target, prediction, name, context
        ),
        "thresholds_and_weights": loss_figures.draw_thresholds_and_weights(rounds, name, context),
        "error_by_decile": model_figures.draw_error_by_decile(
            test.target, prediction, name, context
        ),
        "feature_importance": _draw_gains(booster, name, context),
        "interval_calibration": model_figures.draw_interval_calibration(
            calibration, size, name, context
        ),
    }
    point = last.pointwise
    if valid is not None and point is not None:
        residuals = valid.target - booster.inplace_predict(valid.features)
        reach = float(np.quantile(np.abs(residuals), 0.95))
        figures |= {
            "learning_curves": model_figures.draw_learning_curves(
                rounds, last.number, name, context
            ),
            "loss_shape": loss_figures.draw_loss_shape(point, reach, name, context),
            "residuals": loss_figures.draw_residual_histogram(residuals, point, name, context),
        }
    return figures
