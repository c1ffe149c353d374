"""An XGBoost regressor with a robust loss, for scikit-learn's pipelines and searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xgboost

from asrl_mlflow.errors import InputError
from asrl_mlflow.estimators.model import RobustXGBModel
from asrl_mlflow.estimators.targets import Numbers, Target, Vector
from asrl_mlflow.intervals import kept, predict_spread
from asrl_mlflow.losses import BaseLoss


class RobustXGBRegressor(RobustXGBModel, xgboost.XGBRegressor):
    """`xgboost.XGBRegressor` with a loss of `asrl_mlflow.losses`.

    Parameters
    ----------
    loss : str, Loss, or mapping
        What to minimise: a loss, or the name of one, with its default parameters; "auto" is
        `losses.auto()`, which needs no tuning. In searches its parameters are `loss__q_low`,
        `loss__q_high` and so on. A mapping is a config as `losses.to_config` gives.
    interval_folds : int, 0 or at least 2
        By how many folds `fit` measures residuals on rows that a model did not learn from, for
        `predict(X, interval=...)`; each costs one more training, without callbacks. With 0 they are those
        of the last entry of `eval_set`, unless it has the training rows or early stopping has used it.
    **kwargs
        Those of `xgboost.XGBRegressor`, but not `objective`.

    Raises
    ------
    InputError
        A parameter of the loss that is given to the constructor by itself. From `fit`: an `objective`, an
        unknown loss, a parameter outside its interval, bad targets or weights, or what `train` refuses.

    Notes
    -----
    Trained by `asrl_mlflow.train`: `base_score` is the median of the target, sample weights count (whole
    numbers as repeated rows, others rescaled to mean 1), and metrics are MAE and RMSE beside
    `eval_metric`. With `loss="squared_error"` and the same `base_score` predictions are those of
    XGBRegressor to the bit. With early stopping only the rounds up to the best one are kept. Sample
    weights enter the fit; for intervals each row counts once, but rows of weight 0 do not.

    Examples
    --------
    >>> x = np.linspace(0, 1, 300)[:, None]
    >>> y = 5 + 3 * x[:, 0]
    >>> y[::5] += 100  # one target in five is wrong
    >>> model = RobustXGBRegressor(n_estimators=50, max_depth=2, interval_folds=5)
    >>> _ = model.set_params(loss__q_low=0.5, loss__q_high=0.7).fit(x, y)
    >>> bool(np.abs(model.predict(x) - (5 + 3 * x[:, 0])).mean() < 0.5)
    True
    >>> list(model.predict(x[:1], interval=0.7).columns)
    ['prediction', 'lower', 'upper']
    """

    TASK: ClassVar[str] = "regression"
    OTHER: ClassVar[str] = "RobustXGBClassifier"
    OBJECTIVE: ClassVar[str] = "reg:squarederror"
    OWN: ClassVar[tuple[str, ...]] = ("loss", "interval_folds")
    FOLDS: ClassVar[str] = "interval_folds"

    def __init__(
        self,
        *,
        loss: str | BaseLoss | Mapping[str, Any] = "asrl_c",
        interval_folds: int = 0,
        **kwargs: Any,  # noqa: ANN401 - XGBoost's parameters
    ) -> None:
        super().__init__(loss=loss, **kwargs)
        self.interval_folds = interval_folds

    def predict(
        self,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes, under scikit-learn's name
        *,
        interval: float | None = None,
        clean: bool = False,
        adaptive: bool = False,
        **kwargs: Any,  # noqa: ANN401 - XGBoost's arguments
    ) -> Any:  # noqa: ANN401 - an array, or a frame with intervals
        """Predict, in target units.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n, features)
            Of any kind that `fit` takes.
        interval : float, in (0, 1), optional
            Share of new targets that should lie between `lower` and `upper`, on average over rows like
            those of `fit`: split-conformal intervals, as those of a registered model.
        clean : bool
            Whether these should be right targets, where some of `fit` were gross outliers: their residuals
            do not count, as far as they were found. An estimate, of which nothing is proven.
        adaptive : bool
            Whether intervals are wider for rows whose residuals are expected to be spread wider, as learned from
            the features; needs `interval_folds`.
        **kwargs
            Those of `xgboost.XGBRegressor.predict`; with an interval not `iteration_range`.

        Returns
        -------
        float32 array of shape (n,), or DataFrame
            With an interval a frame with columns prediction, lower, upper, and the index of X if that is
            a pandas frame.

        Raises
        ------
        InputError
            The level is outside (0, 1), `fit` had no rows to calibrate by or to learn a spread from, or an
            interval is asked of some of the rounds.
        """
        if interval is not None and kwargs.get("iteration_range") is not None:
            msg = (
                "Intervals are calibrated for all rounds; got an iteration_range; leave it out, or the "
                "interval."
            )
            raise InputError(msg)
        if (clean or adaptive) and interval is None:
            what = "clean" if clean else "adaptive"
            msg = f"{what} is about intervals; got no interval; pass one, 0.9 say, or leave {what} out."
            raise InputError(msg)
        found = super().predict(X, **kwargs)
        if interval is None:
            return found
        calibration = kept(self.get_booster())
        if calibration is None:
            msg = (
                "Intervals need rows that training did not see; got a model without any; pass "
                "interval_folds=5, or an eval_set of other rows without early stopping."
            )
            raise InputError(msg)
        half: Any = calibration.half_width(interval, clean=clean, adaptive=adaptive)
        if adaptive:
            half = half * predict_spread(calibration, self._unlabelled(X))
        prediction = np.asarray(found, dtype=np.float64)
        return pd.DataFrame(
            {"prediction": prediction, "lower": prediction - half, "upper": prediction + half},
            index=X.index if isinstance(X, pd.DataFrame) else None,
        )

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's type
        """Describe the regressor to scikit-learn: as XGBoost's, but for one target."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags

    def _unlabelled(self, X: Any) -> xgboost.DMatrix:  # noqa: ANN401, N803 - whatever XGBoost takes
        return xgboost.DMatrix(
            X,
            missing=self.missing,
            nthread=self.n_jobs,
            feature_types=self.feature_types,
            enable_categorical=self.enable_categorical,
        )

    def _target(self, y: Vector, model: xgboost.Booster | None) -> Target:  # noqa: ARG002 - numbers are numbers
        return Numbers(self._owner)
