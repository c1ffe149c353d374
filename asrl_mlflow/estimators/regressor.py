"""An XGBoost regressor with a robust loss, for scikit-learn's pipelines and searches."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import PathLike
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from sklearn.model_selection import KFold
from sklearn.utils import column_or_1d

from asrl_mlflow.boosting import (
    CALIBRATION_ATTRIBUTE,
    WEIGHT_RULE_ATTRIBUTE,
    recorded_loss,
    train,
)
from asrl_mlflow.boosting.arguments import CustomMetric
from asrl_mlflow.datasets.columns import check_types
from asrl_mlflow.errors import InputError, did_you_mean
from asrl_mlflow.losses import BaseLoss, Loss, check_names, from_config, from_name
from asrl_mlflow.metrics import BY_RESIDUALS
from asrl_mlflow.residuals.conformal import half_width, sample_rows
from asrl_mlflow.residuals.sample_weights import WeightRule

# XGBoost's default, which the loss stands in for.
_OBJECTIVE = "reg:squarederror"
_NESTED = "loss__"
_OWN = ("loss", "interval_folds")
# Tree methods that need the values of the features, not their bins.
_EXACT_METHODS = ("exact", "approx")

Vector = npt.ArrayLike


class RobustXGBRegressor(xgboost.XGBRegressor):
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

    def __init__(
        self,
        *,
        loss: str | BaseLoss | Mapping[str, Any] = "asrl_c",
        interval_folds: int = 0,
        **kwargs: Any,  # noqa: ANN401 - XGBoost's parameters
    ) -> None:
        nested = [name for name in kwargs if name.startswith(_NESTED)]
        if nested:
            msg = (
                f"RobustXGBRegressor takes {nested[0]} by set_params; got it in the constructor; pass "
                "loss=losses.ContinuousASRL(...), say."
            )
            raise InputError(msg)
        super().__init__(**kwargs)
        for name in getattr(self, "kwargs", ()):  # those that XGBRegressor has no argument for
            # XGBoost would warn of a name that it does not know, and the default would be trained.
            if hint := did_you_mean(name, _OWN):
                msg = f"RobustXGBRegressor takes {', '.join(_OWN)} and XGBoost's; got {name!r}; {hint}"
                raise InputError(msg)
        self.loss = loss
        self.interval_folds = interval_folds

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Give all parameters; with `deep` those of the loss too, as `loss__<name>`."""
        params: dict[str, Any] = super().get_params(deep)
        if deep:
            # A loss that is none is for `fit` to refuse.
            with suppress(InputError):
                own = self._config()["params"]
                params |= {f"{_NESTED}{name}": value for name, value in own.items()}
        return params

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401 - scikit-learn's signature
        """Set parameters, all of them or none.

        Those of the loss may be set one by one: whether they go together is for `fit` to say, as a search
        may try pairs that do not.

        Raises
        ------
        InputError
            The loss has no such parameter.
        """
        nested = {
            name.removeprefix(_NESTED): params.pop(name)
            for name in list(params)
            if name.startswith(_NESTED)
        }
        if nested:
            config = _config_of(params.get("loss", self.loss))
            check_names(config["name"], nested)
            config = {"name": config["name"], "params": config["params"] | nested}
            try:
                params["loss"] = from_config(config)
            except InputError:
                params["loss"] = config  # refused by fit
        super().set_params(**params)
        return self

    def get_loss(self) -> Loss:
        """Give the loss that `fit` minimises.

        Raises
        ------
        InputError
            An unknown loss, or a parameter outside its interval.

        Examples
        --------
        >>> RobustXGBRegressor(loss="huber").get_loss()
        Huber(delta=1.0)
        """
        return _loss_of(self._config())

    def get_xgb_params(self) -> dict[str, Any]:
        """Give the parameters that XGBoost takes."""
        params: dict[str, Any] = super().get_xgb_params()
        return {
            name: value
            for name, value in params.items()
            if name not in _OWN and not name.startswith(_NESTED)
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
        xgb_model: xgboost.Booster | str | PathLike[str] | xgboost.XGBModel | None = None,
        sample_weight_eval_set: Sequence[Vector] | None = None,
        base_margin_eval_set: Sequence[Vector] | None = None,
        feature_weights: Vector | None = None,
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
        config = self._config()
        loss, params, model = _loss_of(config), self._boosting_params(), _booster_of(xgb_model)
        metric, params["eval_metric"] = self._metrics()
        rows = _Rows(X, y, sample_weight, base_margin)
        if feature_weights is None:
            feature_weights = self.feature_weights
        self._check_fit(loss, model, rows, eval_set)
        matrix = self._matrix(
            rows, feature_weights=feature_weights, feature_types=_categories(X, model)
        )
        evals = self._evals(
            rows, matrix, eval_set or (), sample_weight_eval_set, base_margin_eval_set
        )
        history: dict[str, dict[str, list[float]]] = {}
        booster = train(
            params,
            matrix,
            self.get_num_boosting_rounds(),
            loss=loss,
            evals=evals,
            early_stopping_rounds=self.early_stopping_rounds,
            evals_result=history,
            verbose_eval=verbose or False,
            xgb_model=model,
            callbacks=self.callbacks,
            custom_metric=metric,
        )
        residuals: npt.NDArray[np.float64] | None
        if self.interval_folds:
            residuals = self._out_of_fold_residuals(booster, loss, rows, feature_weights)
        else:
            residuals = _held_out_residuals(booster, matrix, evals)
        booster.set_attr(**{CALIBRATION_ATTRIBUTE: _encode(residuals)})
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
            Those of `xgboost.XGBRegressor.predict`; with an interval not `iteration_range`.

        Returns
        -------
        float32 array of shape (n,), or DataFrame
            With an interval a frame with columns prediction, lower, upper, and the index of X if that is
            a pandas frame.

        Raises
        ------
        InputError
            The level is outside (0, 1), `fit` had no rows to calibrate by, or an interval is asked of
            some of the rounds.
        """
        if interval is not None and kwargs.get("iteration_range") is not None:
            msg = (
                "Intervals are calibrated for all rounds; got an iteration_range; leave it out, or the "
                "interval."
            )
            raise InputError(msg)
        found = super().predict(X, **kwargs)
        if interval is None:
            return found
        half = half_width(self._calibration(), interval)
        prediction = np.asarray(found, dtype=np.float64)
        return pd.DataFrame(
            {"prediction": prediction, "lower": prediction - half, "upper": prediction + half},
            index=X.index if isinstance(X, pd.DataFrame) else None,
        )

    def load_model(self, fname: str | PathLike[str] | bytearray) -> None:
        """Load a model that `save_model`, `train` or a run has saved, with its loss.

        Raises
        ------
        InputError
            The model records no loss: it was not trained by this package.
        """
        loss = recorded_loss(xgboost.Booster(model_file=fname))
        if loss is None:
            msg = (
                f"RobustXGBRegressor loads models that record their loss; got {str(fname)[:100]!r} without "
                "one; load it with xgboost.XGBRegressor."
            )
            raise InputError(msg)
        super().load_model(fname)
        # XGBoost names the objective that built the trees, which is the loss's affair.
        self.loss, self.objective = loss, _OBJECTIVE

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's type
        """Describe the regressor to scikit-learn: as XGBoost's, but for one target."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags

    def _config(self) -> dict[str, Any]:
        return _config_of(self.loss)

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

    def _check_fit(
        self,
        loss: Loss,
        model: xgboost.Booster | None,
        rows: _Rows,
        eval_set: Sequence[Any] | None,
    ) -> None:
        """Refuse, before any training, what would fail in the middle of it or after."""
        recorded = None if model is None else recorded_loss(model)
        if model is not None and recorded != loss:
            msg = (
                f"RobustXGBRegressor goes on with the loss that xgb_model records, {recorded}; got {loss}; "
                "set loss to that, or use train(..., change_loss=True)."
            )
            raise InputError(msg)
        if self.early_stopping_rounds and not eval_set:
            msg = (
                f"Early stopping needs rows to judge by; got early_stopping_rounds="
                f"{self.early_stopping_rounds} and no eval_set; pass eval_set=[(X_valid, y_valid)]."
            )
            raise InputError(msg)
        for entry in eval_set or ():
            if not (isinstance(entry, tuple | list) and len(entry) == 2):  # noqa: PLR2004 - a pair
                msg = (
                    "eval_set needs the form [(X, y), ...]; got an entry that is no pair; weights go into "
                    "sample_weight_eval_set."
                )
                raise InputError(msg)
        folds = self.interval_folds
        if folds and not (isinstance(folds, int) and 2 <= folds <= rows.count):  # noqa: PLR2004 - as documented
            msg = (
                f"interval_folds needs 0, or 2 to as many as there are rows ({rows.count}); got {folds!r}; "
                "pass 5."
            )
            raise InputError(msg)

    def _metrics(self) -> tuple[CustomMetric | None, list[str] | None]:
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
        rows: _Rows,
        *,
        feature_weights: Vector | None,
        feature_types: Any = None,  # noqa: ANN401 - XGBoost's types, or the categories of a model
        ref: xgboost.DMatrix | None = None,
        is_plain: bool = False,
    ) -> xgboost.DMatrix:
        """Make the matrix that XGBRegressor would make; a plain one can be sliced."""
        settings: dict[str, Any] = {
            "label": rows.target,
            "weight": rows.weight,
            "base_margin": rows.margin,
            "missing": self.missing,
            "nthread": self.n_jobs,
            "feature_types": self.feature_types if feature_types is None else feature_types,
            "feature_weights": feature_weights,
            "enable_categorical": self.enable_categorical,
        }
        is_plain = is_plain or self.tree_method in _EXACT_METHODS or self.booster == "gblinear"
        try:
            if not is_plain:
                try:
                    return xgboost.QuantileDMatrix(
                        rows.features, **settings, max_bin=self.max_bin, ref=ref
                    )
                except TypeError:
                    pass  # it takes fewer kinds of data than DMatrix
            return xgboost.DMatrix(rows.features, **settings)
        except xgboost.core.XGBoostError as error:
            # XGBoost appends where in its source that is.
            line = re.sub(r"^\[[\d:]+\] \S+ ", "", str(error).strip().splitlines()[0])
            msg = f"RobustXGBRegressor needs rows that XGBoost can learn from; got: {line}"
            raise InputError(msg) from error

    def _evals(
        self,
        learned: _Rows,
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
            if learned.are(features, target, weight, margin):
                judged = matrix
            else:
                known = matrix.get_categories() if _is_frame(features) else None
                judged = self._matrix(
                    _Rows(features, target, weight, margin),
                    feature_weights=None,
                    feature_types=None if known is None or known.empty() else known,
                    ref=matrix,
                )
            evals.append((judged, f"validation_{place}"))
        return evals

    def _out_of_fold_residuals(
        self,
        booster: xgboost.Booster,
        loss: Loss,
        rows: _Rows,
        feature_weights: Vector | None,
    ) -> npt.NDArray[np.float64]:
        """Compute each row's residual by a booster that learned from the other folds only."""
        matrix = self._matrix(rows, feature_weights=feature_weights, is_plain=True)
        params = self._boosting_params() | {"eval_metric": None}
        # That of all rows: weights of a fold may happen to be whole.
        rule = cast("WeightRule", booster.attr(WEIGHT_RULE_ATTRIBUTE))
        residuals = []
        folds = KFold(self.interval_folds, shuffle=True, random_state=0)
        for inside, outside in folds.split(np.empty(rows.count)):
            if rows.weight is not None and not np.asarray(rows.weight)[inside].any():
                msg = (
                    f"interval_folds={self.interval_folds}: each fold needs rows of a weight above 0 to "
                    "learn from; got one without; pass fewer folds, or leave rows of weight 0 out."
                )
                raise InputError(msg)
            part = train(
                params, matrix.slice(inside), _kept_rounds(booster), loss=loss, weight_rule=rule
            )
            residuals.append(_absolute_residuals(part, matrix.slice(outside)))
        return np.concatenate(residuals)

    def _calibration(self) -> npt.NDArray[np.float64]:
        text = self.get_booster().attr(CALIBRATION_ATTRIBUTE)
        if text is None:
            msg = (
                "Intervals need rows that training did not see; got a model without any; pass "
                "interval_folds=5, or an eval_set of other rows without early stopping."
            )
            raise InputError(msg)
        return np.frombuffer(base64.b64decode(text))


class _Rows:
    """Features of any kind with their targets, weights and margins.

    Parameters
    ----------
    features : array, frame or sparse matrix of shape (n, features)
        Of any kind that XGBoost takes.
    target, weight, margin : array of shape (n,), optional
        Of the rows.
    """

    def __init__(
        self,
        features: Any,  # noqa: ANN401 - whatever XGBoost takes
        target: Vector,
        weight: Vector | None,
        margin: Vector | None,
    ) -> None:
        if isinstance(features, pd.DataFrame):
            check_types(features, "RobustXGBRegressor")
        self.features, self.weight, self.margin = features, weight, margin
        self._given_target = target
        self.target = column_or_1d(target, warn=True)
        _check_numbers(self.target, "targets")
        if weight is not None:
            _check_numbers(np.asarray(weight), "sample weights")
            if (np.asarray(weight) < 0).any():
                msg = (
                    "RobustXGBRegressor needs sample weights of 0 or more; got one below; leave its row "
                    "out."
                )
                raise InputError(msg)
        shape = getattr(features, "shape", None)
        if shape and shape[0] != self.count:
            msg = (
                f"RobustXGBRegressor needs one target a row; got {self.count} for {shape[0]} rows (an "
                "inconsistent number of samples); pass as many."
            )
            raise InputError(msg)

    @property
    def count(self) -> int:
        """How many targets there are."""
        return len(self.target)

    def are(self, *given: Any) -> bool:  # noqa: ANN401 - features, target, weight, margin
        """Check whether these are the very objects that the rows were made of."""
        own = (self.features, self._given_target, self.weight, self.margin)
        return all(one is other for one, other in zip(own, given, strict=True))


def _check_numbers(values: npt.NDArray[Any], what: str) -> None:
    """Refuse numbers that are missing or infinite; whatever else they are is XGBoost's to say."""
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(bad.argmax())
        msg = (
            f"RobustXGBRegressor needs {what} without NaN or inf; got {values.flat[row]} in row {row}; "
            "leave such rows out."
        )
        raise InputError(msg)


def _config_of(loss: object) -> dict[str, Any]:
    """Describe a loss by its name and all of its parameters, valid or not."""
    if isinstance(loss, str):
        loss = from_name(loss)
    if isinstance(loss, BaseLoss):
        return {"name": loss.name, "params": dataclasses.asdict(loss)}
    if isinstance(loss, Mapping):
        return {"name": loss["name"], "params": dict(loss.get("params", {}))}
    msg = f"RobustXGBRegressor needs a loss or the name of one, such as 'auto'; got {loss!r}."
    raise InputError(msg)


def _loss_of(config: Mapping[str, Any]) -> Loss:
    """Make the loss of a config, which must be one for regression."""
    loss = from_config(config)
    if not isinstance(loss, Loss):
        msg = (
            f"RobustXGBRegressor needs a loss for regression; got {loss}; use RobustXGBClassifier."
        )
        raise InputError(msg)
    return loss


def _held_out_residuals(
    booster: xgboost.Booster,
    learned: xgboost.DMatrix,
    evals: Sequence[tuple[xgboost.DMatrix, str]],
) -> npt.NDArray[np.float64] | None:
    """Compute the residuals of the last rows to judge by, unless training or stopping has used them."""
    if not evals or booster.attr("best_iteration") is not None:
        return None
    judged = evals[-1][0]
    if judged is learned or np.array_equal(judged.get_label(), learned.get_label()):
        return None
    return _absolute_residuals(booster, judged)


def _absolute_residuals(
    booster: xgboost.Booster, matrix: xgboost.DMatrix
) -> npt.NDArray[np.float64]:
    """Compute |target - prediction| in target units, without rows of weight 0."""
    target, weight = matrix.get_label().astype(np.float64), matrix.get_weight()
    residuals: npt.NDArray[np.float64] = np.abs(target - booster.predict(matrix))
    return residuals[weight > 0] if weight.size else residuals


def _encode(residuals: npt.NDArray[np.float64] | None) -> str | None:
    """Write residuals as text for an attribute of the booster; None where there are none."""
    if residuals is None:
        return None
    return base64.b64encode(np.sort(residuals[sample_rows(residuals.size)]).tobytes()).decode()


def _kept_rounds(booster: xgboost.Booster) -> int:
    """How many rounds `predict` uses: with a callback that stops early those up to the best one."""
    best = booster.attr("best_iteration")
    return int(booster.num_boosted_rounds()) if best is None else int(best) + 1


def _booster_of(
    model: xgboost.Booster | str | PathLike[str] | xgboost.XGBModel | None,
) -> xgboost.Booster | None:
    if isinstance(model, xgboost.XGBModel):
        return model.get_booster()
    if model is None or isinstance(model, xgboost.Booster):
        return model
    return xgboost.Booster(model_file=model)


def _categories(X: Any, model: xgboost.Booster | None) -> Any:  # noqa: ANN401, N803 - XGBoost's types
    """Give the categories that a model to continue knows, for a frame; None where it knows none."""
    if model is None or not _is_frame(X):
        return None
    known = model.get_categories()
    return None if known.empty() else known


def _is_frame(X: Any) -> bool:  # noqa: ANN401, N803 - whatever XGBoost takes
    """Check whether data names its own categories: frames do, arrays and sparse matrices do not."""
    return hasattr(X, "columns") or hasattr(X, "column_names")


def _from_scikit_learn(metric: Any) -> CustomMetric:  # noqa: ANN401 - a function of any name
    """Turn a metric of targets and predictions into one that `train` takes."""
    name = getattr(metric, "__name__", None) or getattr(metric, "func", metric).__name__
    if name in BY_RESIDUALS:
        msg = (
            f"An eval_metric needs a name of its own; got a function named {name!r}, which fit computes "
            "itself; rename it."
        )
        raise InputError(msg)

    def measure(prediction: npt.NDArray[np.float32], matrix: xgboost.DMatrix) -> tuple[str, float]:
        target, weight = matrix.get_label(), matrix.get_weight()
        given = {"sample_weight": weight} if weight.size else {}
        return name, metric(target, prediction, **given)

    return measure
