"""Boosting with a robust loss: XGBoost builds the trees, the loss says what each row weighs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import xgboost
import xgboost.training

from asrl_mlflow.boosting import Boosting, Rows
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import LOSSES, Loss, from_config, to_config
from asrl_mlflow.losses.loss import NEGLIGIBLE
from asrl_mlflow.metrics import SELECTING
from asrl_mlflow.residuals import Residuals
from asrl_mlflow.rounds import Round

# Attributes of the booster, which survive save and load: the file itself always claims
# reg:squarederror.
LOSS_ATTRIBUTE = "asrl_loss"
WEIGHT_RULE_ATTRIBUTE = "asrl_weight_rule"
SCALE_ATTRIBUTE = "asrl_objective_scale"

# XGBoost refuses splits that gain less than about 1e-6, an absolute number in target units squared.
# Below this robust scale that is felt, so objective and regularisation are scaled up together.
_TINY = 1 / 16
# A gain is a sum of squared residuals, in float32: the largest residual may grow to 2**40, and the
# hessian to 2**120.
_MOST_BITS, _MOST_DOUBLINGS = 40, 60
# Robust scales outside of which float32 gains overflow or vanish whatever is done.
_LEAST_SCALE, _MOST_SCALE = 1e-18, 1e15
# What is scaled with the objective, under the names of XGBoost's config, with its other names.
_SCALED = {
    "reg_lambda": ("reg_lambda", "lambda"),
    "reg_alpha": ("reg_alpha", "alpha"),
    "gamma": ("gamma", "min_split_loss"),
    "min_child_weight": ("min_child_weight",),
}
_REPORTED = ("mae", "rmse")


def train(
    params: Mapping[str, Any],
    dtrain: xgboost.DMatrix,
    num_boost_round: int = 100,
    *,
    loss: Loss,
    evals: Sequence[tuple[xgboost.DMatrix, str]] | None = (),
    early_stopping_rounds: int | None = None,
    metric: str = "mae",
    on_round: Callable[[Round], None] | None = None,
    callbacks: Sequence[xgboost.callback.TrainingCallback] | None = None,
    evals_result: dict[str, dict[str, list[float]]] | None = None,
    xgb_model: str | PathLike[str] | xgboost.Booster | bytearray | None = None,
    verbose_eval: bool | int = False,
    change_loss: bool = False,
) -> xgboost.Booster:
    """Train a booster with a loss of `asrl_mlflow.losses`; otherwise as `xgboost.train`.

    Parameters
    ----------
    params : mapping
        XGBoost's parameters, but not `objective` and `scale_pos_weight`. `base_score` is set to the (weighted) median of
        the training target unless given here or taken over from `xgb_model`.
    dtrain : DMatrix, QuantileDMatrix or ExtMemQuantileDMatrix
        One label a row, in target units. A QuantileDMatrix trains faster. Its weights are sample
        weights: whole numbers count rows, any others are rescaled to mean 1. The matrix is given
        back as it was, also after an exception; callbacks meanwhile see it with the loss's weights.
    num_boost_round : int, >= 0
        Rounds to add.
    loss : Loss
        What to minimise.
    evals : sequence of (DMatrix, name)
        Where "mae", "rmse" and `metric` are computed each round. The last entry stops and selects.
    early_stopping_rounds : int, optional
        At least 1. Stop when `metric` on the last entry of `evals` has not improved for so many rounds. The
        booster returned is then cut at its best round.
    metric : {"mae", "rmse", "mse", "medae", "trimmed_mae", "quantile"}
        What early stopping looks at: never the loss, which is another function each round.
    on_round : callable, optional
        Called with a `Round` after each round. What it raises ends the training.
    callbacks : sequence of xgboost.callback.TrainingCallback, optional
        Called in this order, after the metrics of the round are known.
    evals_result : dict, optional
        Filled with {name: {metric: [one value a round]}}.
    xgb_model : path, Booster or bytearray, optional
        A model of ours to continue, with the loss that it recorded.
    verbose_eval : bool or int
        Print the metrics every so many rounds.
    change_loss : bool
        Continue `xgb_model` although it records another loss, or none.

    Returns
    -------
    xgboost.Booster
        Predicts in target units. Attribute "asrl_loss" is the loss's config as JSON,
        "asrl_weight_rule" how sample weights were read ("none", "counts", "mean 1") and
        "asrl_objective_scale" by which power of two objective and regularisation were scaled.

    Raises
    ------
    InputError
        `objective` in params, labels that are missing or have several columns, a target whose
        robust scale is outside [1e-18, 1e15], an unknown metric, early stopping without evals, a
        continued model with another loss, or a round whose residuals, gradients or hessians are not
        finite (the message names round and rows).

    Notes
    -----
    `SquaredError` and `AbsoluteError` train through XGBoost's own objectives.

    Targets whose robust scale (1.4826 MAD) is below 1/16 are learned badly by XGBoost itself (its
    smallest allowed gain is an absolute number), so for them gradient, hessian, lambda, alpha, gamma
    and min_child_weight are multiplied by one power of two (tree boosters only). The booster keeps
    the values given.

    Examples
    --------
    >>> import numpy as np, xgboost
    >>> from asrl_mlflow import losses, train
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> y = 5 + 3 * x[:, 0]
    >>> y[::5] += 100  # one target in five is spoiled
    >>> dtrain = xgboost.QuantileDMatrix(x, label=y)
    >>> booster = train({"max_depth": 2}, dtrain, 50, loss=losses.ContinuousASRL(0.5, 0.7))
    >>> off = np.abs(booster.inplace_predict(x) - (5 + 3 * x[:, 0]))
    >>> bool(off.mean() < 0.5)
    True
    """
    settings, evals = dict(params), list(evals or ())
    _check(settings, dtrain, loss, metric, early_stopping_rounds, evals)
    rows = Rows.of(dtrain, "dtrain")
    target = Residuals(rows.target, rows.counts)
    if xgb_model is None:
        settings.setdefault("base_score", target.median())
    else:
        _check_continues(xgb_model, loss, change_loss=change_loss)
    natively_measured = _native_metrics(settings.pop("eval_metric", None) or ())
    doublings, given = _doublings(loss, target, settings), {}
    del target  # and its sorted rows
    if doublings:
        given = _regularisation(xgboost.Booster(settings, [dtrain], model_file=xgb_model))
        aliases = {alias for name in given for alias in _SCALED[name]}
        settings = {name: value for name, value in settings.items() if name not in aliases}
        settings |= {name: value * 4.0**doublings for name, value in given.items()}
    settings |= {
        "objective": loss.XGBOOST_OBJECTIVE or "reg:squarederror",
        "disable_default_eval_metric": int(not natively_measured),
    }
    if natively_measured:
        settings["eval_metric"] = natively_measured

    by_weights = (
        isinstance(dtrain, xgboost.QuantileDMatrix | xgboost.ExtMemQuantileDMatrix)
        and settings.get("booster", "gbtree") == "gbtree"
        # XGBoost would measure the training rows with the weights that we set.
        and not (natively_measured and any(matrix is dtrain for matrix, _ in evals))
    )
    listeners = list(callbacks or ())
    if verbose_eval:
        listeners.append(xgboost.callback.EvaluationMonitor(period=int(verbose_eval)))
    if early_stopping_rounds and num_boost_round > 0:
        listeners.append(
            xgboost.callback.EarlyStopping(
                rounds=early_stopping_rounds,
                metric_name=metric,
                data_name=evals[-1][1],
                maximize=False,
                save_best=True,
            )
        )
    boosting = Boosting(
        loss=loss,
        rows=rows,
        scale=4.0**doublings,
        by_objective=loss.XGBOOST_OBJECTIVE is None and not by_weights,
        evals=[
            (name, rows if matrix is dtrain else Rows.of(matrix, name)) for matrix, name in evals
        ],
        metrics=tuple(dict.fromkeys([*_REPORTED, metric])),
        on_round=on_round,
        listeners=listeners,
    )
    try:
        # Not xgboost.train: MLflow's autologging, where it is on, replaces that name, and would log the
        # run a second time, with the objective that is only our vehicle.
        booster = xgboost.training.train(
            settings,
            dtrain,
            num_boost_round,
            evals=evals,
            obj=boosting.objective if boosting.by_objective else None,
            callbacks=[boosting],
            evals_result=evals_result,
            verbose_eval=False,
            xgb_model=xgb_model,
        )
    finally:
        boosting.restore_weights()
    booster.set_param({**given, "disable_default_eval_metric": 0})
    booster.set_attr(
        **{
            LOSS_ATTRIBUTE: json.dumps(to_config(loss)),
            WEIGHT_RULE_ATTRIBUTE: rows.counts.rule,
            SCALE_ATTRIBUTE: str(4**doublings),
        }
    )
    return booster


def recorded_loss(booster: xgboost.Booster) -> Loss | None:
    """The loss that a booster says it was trained with; None where `train` did not make it."""
    config = booster.attr(LOSS_ATTRIBUTE)
    return None if config is None else from_config(json.loads(config))


def _check(
    params: Mapping[str, Any],
    dtrain: xgboost.DMatrix,
    loss: Loss,
    metric: str,
    early_stopping_rounds: int | None,
    evals: Sequence[tuple[xgboost.DMatrix, str]],
) -> None:
    if not isinstance(loss, Loss):
        msg = f"train needs a loss, such as losses.ContinuousASRL(); got {loss!r}."
        raise InputError(msg)
    if not isinstance(dtrain, xgboost.DMatrix | xgboost.ExtMemQuantileDMatrix):
        msg = (
            f"train needs a DMatrix or QuantileDMatrix; got {type(dtrain).__name__}; pass "
            "xgboost.QuantileDMatrix(x, label=y)."
        )
        raise InputError(msg)
    if "objective" in params:
        msg = (
            "train takes the objective from loss; got "
            f"params['objective']={params['objective']!r}; remove it."
        )
        raise InputError(msg)
    if params.get("scale_pos_weight", 1) != 1:
        msg = (
            "scale_pos_weight is for classes, and train is for regression; got "
            f"{params['scale_pos_weight']}; set sample weights instead."
        )
        raise InputError(msg)
    if metric not in SELECTING:
        msg = f"train needs a metric out of {', '.join(SELECTING)}; got {metric!r}."
        raise InputError(msg)
    if early_stopping_rounds is not None and early_stopping_rounds < 1:
        msg = (
            f"Early stopping needs at least 1 round; got early_stopping_rounds="
            f"{early_stopping_rounds}; pass None for no early stopping."
        )
        raise InputError(msg)
    if early_stopping_rounds and not evals:
        msg = (
            f"Early stopping needs rows to judge by; got early_stopping_rounds="
            f"{early_stopping_rounds} and no evals; pass evals=[(dvalid, 'valid')]."
        )
        raise InputError(msg)


def _check_continues(
    xgb_model: str | PathLike[str] | xgboost.Booster | bytearray, loss: Loss, *, change_loss: bool
) -> None:
    if change_loss:
        return
    model = xgb_model if isinstance(xgb_model, xgboost.Booster) else None
    attribute = (model or xgboost.Booster(model_file=xgb_model)).attr(LOSS_ATTRIBUTE)
    recorded = None if attribute is None else json.loads(attribute)
    if recorded is not None and recorded["name"] in LOSSES:
        # Parameters that it does not name, because they came later, have their defaults.
        recorded = from_config(recorded)
    # A user's own loss is in no catalogue, and stays a config.
    if recorded not in (loss, to_config(loss)):
        msg = (
            f"A model goes on with the loss that it recorded; it records {recorded}, got {loss}; "
            "pass that loss, or change_loss=True."
        )
        raise InputError(msg)


def _doublings(loss: Loss, target: Residuals, settings: Mapping[str, Any]) -> int:
    """By which power of 2 a tiny target must grow to have a robust scale of about 1."""
    median = target.median()
    mad, wide, largest = target.quantile_abs([0.5, 0.95, 1.0], centre=median)
    # Where most targets are equal but for noise in their last digits, the others give the scale.
    scale = 1.4826 * mad if mad > NEGLIGIBLE * wide else (wide or math.sqrt(target.variance()))
    if scale and not _LEAST_SCALE <= scale <= _MOST_SCALE:
        msg = (
            f"train needs a target whose robust scale is in [{_LEAST_SCALE:g}, {_MOST_SCALE:g}], "
            f"which is as far as float32 reaches; got {scale:.3g}; change its unit."
        )
        raise InputError(msg)
    trees = settings.get("booster", "gbtree") != "gblinear"
    # reg:absoluteerror has gradients of size 1 whatever the target's unit.
    if not 0 < scale < _TINY or not trees or loss.XGBOOST_OBJECTIVE == "reg:absoluteerror":
        return 0
    headroom = _MOST_BITS - math.frexp(largest)[1]
    return max(0, min(1 - math.frexp(scale)[1], headroom, _MOST_DOUBLINGS))


def _regularisation(booster: xgboost.Booster) -> dict[str, float]:
    """The parameters that have the objective's unit, as this booster would use them."""
    config = json.loads(booster.save_config())["learner"]["gradient_booster"]
    trees = config.get("gbtree", config)["tree_train_param"]
    return {name: float(trees[name]) for name in _SCALED}


def _native_metrics(eval_metric: str | Sequence[Any]) -> list[Any]:
    """Those of the user's metrics that XGBoost must compute because we do not."""
    names = [eval_metric] if isinstance(eval_metric, str) else list(eval_metric)
    return [name for name in names if name not in _REPORTED]
