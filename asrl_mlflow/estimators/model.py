"""What XGBoost's estimators with a loss have in common, whatever their target is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from typing import Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt
import xgboost
from sklearn.model_selection import KFold

from asrl_mlflow.boosting import WEIGHT_RULE_ATTRIBUTE, recorded_loss, train
from asrl_mlflow.boosting.arguments import CustomMetric
from asrl_mlflow.boosting.training import train as train_unheard
from asrl_mlflow.errors import InputError, did_you_mean
from asrl_mlflow.estimators.rows import Rows
from asrl_mlflow.estimators.targets import Target, Vector
from asrl_mlflow.intervals import calibrate_by_evals, judge, keep, learn_spread
from asrl_mlflow.losses import BaseLoss, check_names, from_config, from_name
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.residuals.conformal import Calibration, sample_rows
from asrl_mlflow.residuals.sample_weights import WeightRule

_NESTED = "loss__"
# Tree methods that need the values of the features, not their bins.
_EXACT_METHODS = ("exact", "approx")

Model = xgboost.Booster | str | PathLike[str] | xgboost.XGBModel


class RobustXGBModel(xgboost.XGBModel):
    """Base class of XGBoost's estimators with a loss; subclasses also derive from one of XGBoost's.

    Parameters
    ----------
    loss : str, loss, or mapping
        What to minimise.
    **kwargs
        Those of the estimator of XGBoost.

    Raises
    ------
    InputError
        A parameter of the loss that is given to the constructor by itself.
    """

    # The losses that fit the target, and the estimator that takes the others.
    TASK: ClassVar[str]
    OTHER: ClassVar[str]
    # XGBoost's default, which the loss stands in for.
    OBJECTIVE: ClassVar[str]
    # Parameters that XGBoost does not know, and the one of them that is a number of folds.
    OWN: ClassVar[tuple[str, ...]]
    FOLDS: ClassVar[str]

    def __init__(
        self,
        *,
        loss: str | BaseLoss | Mapping[str, Any],
        **kwargs: Any,  # noqa: ANN401 - XGBoost's parameters
    ) -> None:
        nested = [name for name in kwargs if name.startswith(_NESTED)]
        if nested:
            msg = (
                f"{self._owner} takes {nested[0]} by set_params; got it in the constructor; pass a loss with "
                "its parameters, such as loss=losses.Huber(delta=1.0)."
            )
            raise InputError(msg)
        super().__init__(**kwargs)
        for name in getattr(self, "kwargs", ()):  # those that XGBoost has no argument for
            # XGBoost would warn of a name that it does not know, and the default would be trained.
            if hint := did_you_mean(name, self.OWN):
                msg = (
                    f"{self._owner} takes {', '.join(self.OWN)} and XGBoost's; got {name!r}; {hint}"
                )
                raise InputError(msg)
        self.loss = loss

    @property
    def _owner(self) -> str:
        """Who says what is refused."""
        return type(self).__name__

    def get_loss(self) -> BaseLoss:
        """Make the loss that `fit` minimises.

        Raises
        ------
        InputError
            An unknown loss, one for another kind of target, or a parameter outside its interval.

        Examples
        --------
        >>> from asrl_mlflow import RobustXGBRegressor
        >>> RobustXGBRegressor(loss="huber").get_loss()
        Huber(delta=1.0)
        """
        return self._checked(from_config(self._config()))

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
            config = _config_of(params.get("loss", self.loss), self._owner)
            check_names(config["name"], nested)
            config = {"name": config["name"], "params": config["params"] | nested}
            try:
                params["loss"] = from_config(config)
            except InputError:
                params["loss"] = config  # refused by fit
        super().set_params(**params)
        return self

    def get_xgb_params(self) -> dict[str, Any]:
        """Give the parameters that XGBoost takes; not the objective, which is the loss's affair."""
        params: dict[str, Any] = super().get_xgb_params()
        return {
            name: value
            for name, value in params.items()
            if name not in (*self.OWN, "objective") and not name.startswith(_NESTED)
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
        xgb_model: Model | None = None,
        sample_weight_eval_set: Sequence[Vector] | None = None,
        base_margin_eval_set: Sequence[Vector] | None = None,
        feature_weights: Vector | None = None,
    ) -> Self:
        """Fit the model; arguments are those of `fit` of XGBoost's estimator.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n, features)
            Of any kind that XGBoost takes: numpy, pandas, polars, pyarrow, scipy.sparse.
        y : array of shape (n,)
            Targets: numbers to the regressor, labels to the classifier.
        eval_set : sequence of (X, y), optional
            Where metrics are computed each round; the last entry stops.

        Raises
        ------
        InputError
            As described for the class.
        """
        loss, params, model = self.get_loss(), self._boosting_params(), _booster_of(xgb_model)
        metric, params["eval_metric"] = self._metrics(loss)
        target = self._target(y, model)
        rows = Rows(self._owner, X, y, target, self._weigh(y, sample_weight), base_margin)
        if feature_weights is None:
            feature_weights = self.feature_weights
        self._check_fit(loss, model, rows, eval_set)
        matrix = self._matrix(
            rows, feature_weights=feature_weights, feature_types=_categories(X, model)
        )
        evals = self._evals(
            rows, matrix, target, eval_set or (), sample_weight_eval_set, base_margin_eval_set
        )
        history: dict[str, dict[str, list[float]]] = {}
        booster = train(
            {**params, **target.settings},
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
        if getattr(self, self.FOLDS):
            calibration: Calibration | None = self._calibrate_out_of_fold(
                booster, loss, rows, target, feature_weights
            )
        else:
            calibration = calibrate_by_evals(booster, matrix, evals, loss)
        keep(booster, calibration)
        booster.set_attr(**target.attributes)
        self._keep(booster, target)
        if history:
            self.evals_result_ = history
        return self

    def load_model(self, fname: str | PathLike[str] | bytearray) -> None:
        """Load a model that `save_model`, `train` or a run has saved, with its loss.

        Raises
        ------
        InputError
            The model records no loss, as it was not trained by this package, or one for another kind of
            target.
        """
        loss = recorded_loss(xgboost.Booster(model_file=fname))
        if loss is None:
            msg = (
                f"{self._owner} loads models that record their loss; got {str(fname)[:100]!r} without "
                f"one; load it with xgboost.{self._owner.removeprefix('Robust')}."
            )
            raise InputError(msg)
        self._checked(loss)
        super().load_model(fname)
        # XGBoost names the objective that built the trees, which is the loss's affair.
        self.loss, self.objective = loss, self.OBJECTIVE

    def _target(self, y: Vector, model: xgboost.Booster | None) -> Target:
        """Give what reads targets such as y; `model` is the one to continue."""
        raise NotImplementedError

    def _weigh(self, y: Vector, sample_weight: Vector | None) -> Vector | None:  # noqa: ARG002 - for subclasses
        """Give the weights of the rows."""
        return sample_weight

    def _for_metric(self, prediction: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give a prediction in the form that metrics of scikit-learn take."""
        return prediction

    def _keep(self, booster: xgboost.Booster, target: Target) -> None:  # noqa: ARG002 - for subclasses
        """Keep what was fitted."""
        self._Booster = booster

    def _config(self) -> dict[str, Any]:
        return _config_of(self.loss, self._owner)

    def _checked(self, loss: BaseLoss) -> BaseLoss:
        """Give a loss back that is one for this kind of target."""
        if loss.task != self.TASK:
            msg = f"{self._owner} needs a loss for {self.TASK}; got {loss}; use {self.OTHER}."
            raise InputError(msg)
        return loss

    def _boosting_params(self) -> dict[str, Any]:
        if self.objective not in (None, self.OBJECTIVE):
            msg = (
                f"{self._owner} takes the objective from loss; got "
                f"objective={self.objective!r}; leave it out."
            )
            raise InputError(msg)
        return self.get_xgb_params()

    def _check_fit(
        self,
        loss: BaseLoss,
        model: xgboost.Booster | None,
        rows: Rows,
        eval_set: Sequence[Any] | None,
    ) -> None:
        """Refuse, before any training, what would fail in the middle of it or after."""
        recorded = None if model is None else recorded_loss(model)
        if model is not None and recorded != loss:
            msg = (
                f"{self._owner} goes on with the loss that xgb_model records, {recorded}; got {loss}; "
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
        folds = getattr(self, self.FOLDS)
        if folds and not (isinstance(folds, int) and 2 <= folds <= rows.count):  # noqa: PLR2004 - as documented
            msg = (
                f"{self.FOLDS} needs 0, or 2 to as many as there are rows ({rows.count}); got {folds!r}; "
                "pass 5."
            )
            raise InputError(msg)

    def _metrics(self, loss: BaseLoss) -> tuple[CustomMetric | None, list[str] | None]:
        """Split `eval_metric` into the user's own function and the names of metrics."""
        named = self.eval_metric
        each = [named] if named is None or isinstance(named, str) or callable(named) else [*named]
        own = [metric for metric in each if callable(metric)]
        if len(own) > 1:
            msg = f"{self._owner} takes one eval_metric that is a function; got {len(own)}."
            raise InputError(msg)
        names = [metric for metric in each if isinstance(metric, str)]
        return (self._from_scikit_learn(own[0], loss) if own else None), names or None

    def _from_scikit_learn(self, metric: Callable[..., float], loss: BaseLoss) -> CustomMetric:
        """Turn a metric of targets and predictions into one that `train` takes."""
        name = getattr(metric, "__name__", None) or getattr(metric, "func", metric).__name__
        if name in TASKS[self.TASK].selecting:
            msg = (
                f"An eval_metric needs a name of its own; got a function named {name!r}, which fit computes "
                "itself; rename it."
            )
            raise InputError(msg)

        def measure(margin: npt.NDArray[np.float32], matrix: xgboost.DMatrix) -> tuple[str, float]:
            target, weight = matrix.get_label(), matrix.get_weight()
            given = {"sample_weight": weight} if weight.size else {}
            return name, metric(target, self._for_metric(loss.predict(margin)), **given)

        return measure

    def _matrix(
        self,
        rows: Rows,
        *,
        feature_weights: Vector | None,
        feature_types: Any = None,  # noqa: ANN401 - XGBoost's types, or the categories of a model
        ref: xgboost.DMatrix | None = None,
        is_plain: bool = False,
    ) -> xgboost.DMatrix:
        """Make the matrix that XGBoost's estimator would make; a plain one can be sliced."""
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
            msg = f"{self._owner} needs rows that XGBoost can learn from; got: {line}"
            raise InputError(msg) from error

    def _evals(
        self,
        learned: Rows,
        matrix: xgboost.DMatrix,
        target: Target,
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
        for place, (features, values) in enumerate(eval_set):
            weight = None if weights is None else weights[place]
            margin = None if margins is None else margins[place]
            if learned.are(features, values, weight, margin):
                judged = matrix
            else:
                known = matrix.get_categories() if _is_frame(features) else None
                judged = self._matrix(
                    Rows(self._owner, features, values, target, weight, margin),
                    feature_weights=None,
                    feature_types=None if known is None or known.empty() else known,
                    ref=matrix,
                )
            evals.append((judged, f"validation_{place}"))
        return evals

    def _calibrate_out_of_fold(
        self,
        booster: xgboost.Booster,
        loss: BaseLoss,
        rows: Rows,
        target: Target,
        feature_weights: Vector | None,
    ) -> Calibration:
        """Keep each row's error by a booster that learned from the other folds only, and learn their spread."""
        matrix = self._matrix(rows, feature_weights=feature_weights, is_plain=True)
        params = {**self._boosting_params(), **target.settings, "eval_metric": None}
        # That of all rows: weights of a fold may happen to be whole.
        rule = cast("WeightRule", booster.attr(WEIGHT_RULE_ATTRIBUTE))
        folds = getattr(self, self.FOLDS)
        parts, order = [], []
        for inside, outside in KFold(folds, shuffle=True, random_state=0).split(
            np.empty(rows.count)
        ):
            if rows.weight is not None and not np.asarray(rows.weight)[inside].any():
                msg = (
                    f"{self.FOLDS}={folds}: each fold needs rows of a weight above 0 to learn from; got one "
                    "without; pass fewer folds, or leave rows of weight 0 out."
                )
                raise InputError(msg)
            # Nobody hears of these: they are a part of this one.
            part = train_unheard(
                params, matrix.slice(inside), kept_rounds(booster), loss=loss, weight_rule=rule
            )
            parts.append(judge(part, matrix.slice(outside), loss))
            order.append(
                outside if rows.weight is None else outside[np.asarray(rows.weight)[outside] > 0]
            )
        calibration = loss.calibrate(*map(np.concatenate, zip(*parts, strict=True)))
        kept = np.concatenate(order)
        return learn_spread(calibration, matrix.slice(kept[sample_rows(kept.size)]))


def _config_of(loss: object, owner: str) -> dict[str, Any]:
    """Describe a loss by its name and all of its parameters, valid or not."""
    if isinstance(loss, str):
        loss = from_name(loss)
    if isinstance(loss, BaseLoss):
        return {"name": loss.name, "params": dataclasses.asdict(loss)}
    if isinstance(loss, Mapping) and "name" in loss:
        return {"name": loss["name"], "params": dict(loss.get("params", {}))}
    msg = f"{owner} needs a loss, the name of one, or its config; got {loss!r}."
    raise InputError(msg)


def kept_rounds(booster: xgboost.Booster) -> int:
    """How many rounds `predict` uses: with a callback that stops early those up to the best one."""
    best = booster.attr("best_iteration")
    return int(booster.num_boosted_rounds()) if best is None else int(best) + 1


def _booster_of(model: Model | None) -> xgboost.Booster | None:
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
