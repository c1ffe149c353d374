"""An XGBoost regressor with a robust loss, for scikit-learn's pipelines and searches."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from sklearn.model_selection import KFold
from sklearn.utils import column_or_1d

from asrl_mlflow.boosting import CALIBRATION_ATTRIBUTE, recorded_loss, train
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import Loss, from_config, from_name
from asrl_mlflow.residuals.conformal import half_width, sample_rows

# XGBoost's default, which the loss stands in for.
_OBJECTIVE = "reg:squarederror"
# An attribute of the booster, so that every way of saving keeps it.
_CALIBRATION = CALIBRATION_ATTRIBUTE
_NESTED = "loss__"
# Tree methods that need the values of the features, not their bins.
_EXACT_METHODS = ("exact", "approx")

Vector = npt.ArrayLike


class RobustXGBRegressor(xgboost.XGBRegressor):
    """`xgboost.XGBRegressor` with a loss of `asrl_mlflow.losses`.

    Parameters
    ----------
    loss : str or Loss
        What to minimise: a loss, or the name of one, with its default parameters; "auto" is
        `losses.auto()`, which needs no tuning. In searches its
        parameters are `loss__q_low`, `loss__q_high` and so on.
    interval_folds : int, 0 or at least 2
        By how many folds `fit` measures residuals on rows that a model did not learn from, for
        `predict(X, interval=...)`; each costs one more training. With 0 they are those of the last
        entry of `eval_set`, unless early stopping has used it.
    **kwargs
        Those of `xgboost.XGBRegressor`, but not `objective`.

    Raises
    ------
    InputError
        From `fit`: an `objective`, an unknown loss, a parameter outside its interval, or what `train`
        refuses.

    Notes
    -----
    Trained by `asrl_mlflow.train`: `base_score` is the median of the target, sample weights count (whole
    numbers as repeated rows, others rescaled to mean 1), and metrics are MAE and RMSE beside
    `eval_metric`. With `loss="squared_error"` and the same `base_score` predictions are those of
    XGBRegressor to the bit. With early stopping only the rounds up to the best one are kept.

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

    def __init__(
        self,
        *,
        loss: str | Loss = "asrl_c",
        interval_folds: int = 0,
        **kwargs: Any,  # noqa: ANN401 - XGBoost's parameters
    ) -> None:
        super().__init__(**kwargs)
        self.loss = loss
        self.interval_folds = interval_folds

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Give all parameters; with `deep` those of the loss too, as `loss__<name>`."""
        params: dict[str, Any] = super().get_params(deep)
        if deep:
            own = dataclasses.asdict(self._resolved_loss())
            params |= {f"{_NESTED}{name}": value for name, value in own.items()}
        return params

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401 - scikit-learn's signature
        """Set parameters; several of the loss are set at once, so that each pair is checked together.

        Raises
        ------
        InputError
            The loss has no such parameter, or it is outside its interval.
        """
        nested = {
            name.removeprefix(_NESTED): params.pop(name)
            for name in list(params)
            if name.startswith(_NESTED)
        }
        super().set_params(**params)
        if nested:
            loss = self._resolved_loss()
            config = {"name": loss.name, "params": dataclasses.asdict(loss) | nested}
            self.loss = from_config(config)
        return self

    def get_xgb_params(self) -> dict[str, Any]:
        """Give the parameters that XGBoost takes."""
        params: dict[str, Any] = super().get_xgb_params()
        own = {"loss", "interval_folds"}
        return {
            name: value
            for name, value in params.items()
            if name not in own and not name.startswith(_NESTED)
        }

    def fit(
        self,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes, under scikit-learn's name
        y: Vector,
        *,
        sample_weight: Vector | None = None,
        base_margin: Vector | None = None,
        eval_set: Sequence[tuple[Any, Vector]] | None = None,
        verbose: bool | int | None = True,
        xgb_model: xgboost.Booster | str | xgboost.XGBModel | None = None,
        sample_weight_eval_set: Sequence[Vector] | None = None,
        base_margin_eval_set: Sequence[Vector] | None = None,
    ) -> Self:
        """Fit the model; arguments are those of `xgboost.XGBRegressor.fit`.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n, features)
            Of any kind that XGBoost takes: numpy, pandas, polars, pyarrow, scipy.sparse.
        y : array of shape (n,)
            Targets.
        eval_set : sequence of (X, y), optional
            Where metrics are computed each round; the last entry stops.

        Raises
        ------
        InputError
            As described for the class.
        """
        loss, params, rounds = self._resolved_loss(), self._boosting_params(), self._rounds()
        model = _booster_of(xgb_model)
        matrix = self._matrix(X, y, sample_weight, base_margin, categories=_categories(X, model))
        evals = self._evals(
            (X, y, sample_weight, base_margin),
            matrix,
            eval_set or (),
            sample_weight_eval_set,
            base_margin_eval_set,
        )
        history: dict[str, dict[str, list[float]]] = {}
        metric, params["eval_metric"] = self._metrics()
        booster = train(
            params,
            matrix,
            rounds,
            loss=loss,
            evals=evals,
            early_stopping_rounds=self.early_stopping_rounds,
            evals_result=history,
            verbose_eval=verbose or False,
            xgb_model=model,
            callbacks=self.callbacks,
            custom_metric=metric,
        )
        calibration = self._calibrate(booster, evals, (X, y, sample_weight, base_margin))
        booster.set_attr(**{_CALIBRATION: calibration})
        self._Booster = booster
        if history:
            self.evals_result_ = history
        return self

    def predict(
        self,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes, under scikit-learn's name
        *,
        interval: float | None = None,
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
        **kwargs
            Those of `xgboost.XGBRegressor.predict`.

        Returns
        -------
        float32 array of shape (n,), or DataFrame
            With an interval a frame with columns prediction, lower, upper.

        Raises
        ------
        InputError
            The level is outside (0, 1), or `fit` had no rows to calibrate by.
        """
        found = super().predict(X, **kwargs)
        if interval is None:
            return found
        half = half_width(self._calibration(), interval)
        prediction = np.asarray(found, dtype=np.float64)
        return pd.DataFrame(
            {"prediction": prediction, "lower": prediction - half, "upper": prediction + half}
        )

    def load_model(self, fname: str | PathLike[str] | bytearray) -> None:
        """Load a model that `save_model`, `train` or a run has saved, with its loss.

        Raises
        ------
        InputError
            The model records no loss: it was not trained by this package.
        """
        super().load_model(fname)
        loss = recorded_loss(self.get_booster())
        if loss is None:
            msg = (
                f"RobustXGBRegressor loads models that record their loss; got {str(fname)[:100]!r} without "
                "one; load it with xgboost.XGBRegressor."
            )
            raise InputError(msg)
        # XGBoost names the objective that built the trees, which is the loss's affair.
        self.loss, self.objective = loss, _OBJECTIVE

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's type and name
        """Describe the regressor to scikit-learn: as XGBoost's, but for one target."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags

    def _resolved_loss(self) -> Loss:
        if isinstance(self.loss, Loss):
            return self.loss
        if isinstance(self.loss, str):
            return from_name(self.loss)
        msg = (
            "RobustXGBRegressor needs a loss or the name of one, such as 'asrl_c'; got "
            f"{self.loss!r}."
        )
        raise InputError(msg)

    def _boosting_params(self) -> dict[str, Any]:
        if self.objective not in (None, _OBJECTIVE):
            msg = (
                "RobustXGBRegressor takes the objective from loss; got "
                f"objective={self.objective!r}; leave it out."
            )
            raise InputError(msg)
        params = self.get_xgb_params()
        del params["objective"]
        return params

    def _rounds(self) -> int:
        return int(self.get_num_boosting_rounds())

    def _metrics(self) -> tuple[Any, list[str] | None]:
        """Split `eval_metric` into the user's own function and the names of XGBoost's metrics."""
        named = self.eval_metric
        each = [named] if named is None or isinstance(named, str) or callable(named) else [*named]
        own = [metric for metric in each if callable(metric)]
        if len(own) > 1:
            msg = f"RobustXGBRegressor takes one eval_metric that is a function; got {len(own)}."
            raise InputError(msg)
        names = [metric for metric in each if isinstance(metric, str)]
        return (_from_scikit_learn(own[0]) if own else None), names or None

    def _matrix(
        self,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes
        y: Vector,
        weight: Vector | None,
        margin: Vector | None,
        *,
        ref: xgboost.DMatrix | None = None,
        categories: Any = None,  # noqa: ANN401 - XGBoost's type
    ) -> xgboost.DMatrix:
        """Make the matrix that XGBRegressor would make."""
        settings: dict[str, Any] = {
            "label": column_or_1d(y, warn=True),
            "weight": weight,
            "base_margin": margin,
            "missing": self.missing,
            "nthread": self.n_jobs,
            "feature_types": self.feature_types if categories is None else categories,
            "feature_weights": self.feature_weights,
            "enable_categorical": self.enable_categorical,
        }
        if self.tree_method not in _EXACT_METHODS and self.booster != "gblinear":
            try:
                return xgboost.QuantileDMatrix(X, **settings, max_bin=self.max_bin, ref=ref)
            except TypeError:
                pass  # it takes fewer kinds of data than DMatrix
        return xgboost.DMatrix(X, **settings)

    def _evals(
        self,
        learned: tuple[Any, ...],
        matrix: xgboost.DMatrix,
        eval_set: Sequence[tuple[Any, Vector]],
        weights: Sequence[Vector] | None,
        margins: Sequence[Vector] | None,
    ) -> list[tuple[xgboost.DMatrix, str]]:
        for name, each in (("sample_weight_eval_set", weights), ("base_margin_eval_set", margins)):
            if each is not None and len(each) != len(eval_set):
                msg = (
                    f"{name} needs one entry for each of eval_set; got {len(each)} for "
                    f"{len(eval_set)}; pass as many."
                )
                raise InputError(msg)
        evals = []
        for place, (features, target) in enumerate(eval_set):
            weight = None if weights is None else weights[place]
            margin = None if margins is None else margins[place]
            given = (features, target, weight, margin)
            is_learned = all(one is other for one, other in zip(given, learned, strict=True))
            known = matrix.get_categories() if _is_frame(features) else None
            if known is not None and known.empty():
                known = None
            judged = matrix if is_learned else self._matrix(*given, ref=matrix, categories=known)
            evals.append((judged, f"validation_{place}"))
        return evals

    def _calibrate(
        self,
        booster: xgboost.Booster,
        evals: Sequence[tuple[xgboost.DMatrix, str]],
        learned: tuple[Any, ...],
    ) -> str | None:
        """Measure absolute residuals of rows not learned from, as text for the booster; None without any."""
        if self.interval_folds:
            residuals = self._out_of_fold_residuals(booster, *learned)
        elif evals and not self.early_stopping_rounds:
            residuals = _absolute_residuals(booster, evals[-1][0])
        else:
            return None
        kept = residuals[sample_rows(residuals.size)]
        return base64.b64encode(np.sort(kept).tobytes()).decode()

    def _out_of_fold_residuals(
        self,
        booster: xgboost.Booster,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes
        y: Vector,
        weight: Vector | None,
        margin: Vector | None,
    ) -> npt.NDArray[np.float64]:
        rows = xgboost.DMatrix(
            X,
            label=column_or_1d(y),
            weight=weight,
            base_margin=margin,
            missing=self.missing,
            nthread=self.n_jobs,
            feature_types=self.feature_types,
            feature_weights=self.feature_weights,
            enable_categorical=self.enable_categorical,
        )
        params = self._boosting_params()
        params.pop("eval_metric", None)
        residuals = []
        folds = KFold(self.interval_folds, shuffle=True, random_state=0)
        for inside, outside in folds.split(np.empty(rows.num_row())):
            part = train(
                params,
                rows.slice(inside),
                booster.num_boosted_rounds(),
                loss=self._resolved_loss(),
            )
            residuals.append(_absolute_residuals(part, rows.slice(outside)))
        return np.concatenate(residuals)

    def _calibration(self) -> npt.NDArray[np.float64]:
        text = self.get_booster().attr(_CALIBRATION)
        if text is None:
            msg = (
                "Intervals need rows that training did not see; got a model without any; pass "
                "interval_folds=5, or an eval_set without early stopping."
            )
            raise InputError(msg)
        return np.frombuffer(base64.b64decode(text))


def _absolute_residuals(
    booster: xgboost.Booster, matrix: xgboost.DMatrix
) -> npt.NDArray[np.float64]:
    """Compute |target - prediction| in target units, without rows of weight 0."""
    target, weight = matrix.get_label().astype(np.float64), matrix.get_weight()
    residuals: npt.NDArray[np.float64] = np.abs(target - booster.predict(matrix))
    return residuals[weight > 0] if weight.size else residuals


def _booster_of(
    model: xgboost.Booster | str | xgboost.XGBModel | None,
) -> xgboost.Booster | None:
    if isinstance(model, xgboost.XGBModel):
        return model.get_booster()
    return xgboost.Booster(model_file=model) if isinstance(model, str) else model


def _categories(X: Any, model: xgboost.Booster | None) -> Any:  # noqa: ANN401, N803 - XGBoost's types
    """Give the categories that a model to continue knows, for a frame; None where it knows none."""
    if model is None or not _is_frame(X):
        return None
    known = model.get_categories()
    return None if known.empty() else known


def _is_frame(X: Any) -> bool:  # noqa: ANN401, N803 - whatever XGBoost takes
    """Check whether data names its own categories: frames do, arrays and sparse matrices do not."""
    return hasattr(X, "columns") or hasattr(X, "column_names")


def _from_scikit_learn(metric: Any) -> Any:  # noqa: ANN401 - a function of any name
    """Turn a metric of targets and predictions into one that `train` takes."""

    def measure(prediction: npt.NDArray[np.float32], matrix: xgboost.DMatrix) -> tuple[str, float]:
        target, weight = matrix.get_label(), matrix.get_weight()
        given = {"sample_weight": weight} if weight.size else {}
        return metric.__name__, metric(target, prediction, **given)

    return measure
