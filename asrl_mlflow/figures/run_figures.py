"""Which pictures a run has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.figures import loss_figures, model_figures
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import Loss
from asrl_mlflow.rounds import Round


def drawn(
    loss: Loss,
    booster: xgboost.Booster,
    test: Rows,
    prediction: npt.NDArray[np.float32],
    rounds: Sequence[Round],
    last: Round,
    title: str,
    *,
    valid: Rows | None,
) -> Iterator[tuple[str, bytes]]:
    """The pictures of a run, one after another, as (name, bytes of a PNG file).

    Parameters
    ----------
    loss : Loss
        What was minimised.
    booster : xgboost.Booster
        What came out.
    test : Part
        What it is judged by.
    prediction : float32 array of shape (n,)
        Of the test rows.
    rounds : sequence of Round
        All that were trained.
    last : Round
        The last that the booster keeps.
    title : str
        Above each picture.
    valid : Part, optional
        Rows that it neither learned from nor is judged by. Without, pictures of them are left out.
    """
    gains = {
        # A number for trees, a list for linear models, which nobody draws here.
        feature: float(np.sum(gain))
        for feature, gain in booster.get_score(importance_type="total_gain").items()
    }
    name = loss.name
    pictures = {
        "predicted_against_actual": model_figures.predicted_against_actual(
            test.target, prediction, name, title
        ),
        "thresholds_and_weights": loss_figures.thresholds_and_weights(rounds, name, title),
        "error_by_decile": model_figures.error_by_decile(test.target, prediction, name, title),
        "feature_importance": model_figures.feature_importance(gains, name, title),
    }
    if valid is not None:
        residuals = valid.target - booster.inplace_predict(valid.features)
        reach = float(np.quantile(np.abs(residuals), 0.95))
        pictures |= {
            "learning_curves": model_figures.learning_curves(rounds, last.number, name, title),
            "loss_shape": loss_figures.loss_shape(last.pointwise, reach, name, title),
            "residuals": loss_figures.residual_histogram(residuals, last.pointwise, name, title),
        }
    for file, figure in pictures.items():
        if figure is not None:
            yield file, png(figure)
