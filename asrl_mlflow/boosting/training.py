"""Boosting with a robust loss: XGBoost builds the trees, the loss says what each row weighs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from os import PathLike
from typing import Any

import xgboost

from asrl_mlflow.boosting.arguments import Arguments, CustomMetric
from asrl_mlflow.boosting.classification.learner import ClassLearner
from asrl_mlflow.boosting.early_stopping import CutAtBest
from asrl_mlflow.boosting.evaluation import Evaluation
from asrl_mlflow.boosting.learner import Learner
from asrl_mlflow.boosting.lending import INFO, lend
from asrl_mlflow.boosting.loop import Boosting
from asrl_mlflow.boosting.pace import Onlooker, Pace
from asrl_mlflow.boosting.regression.learner import RegressionLearner
from asrl_mlflow.boosting.regularisation import Regularisation
from asrl_mlflow.boosting.several_targets.learner import (
    SeveralTargetsLearner,
    Targets,
    TargetScale,
)
from asrl_mlflow.boosting.several_targets.rows import count_targets
from asrl_mlflow.boosting.several_targets.weighting import TargetWeights
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import BaseLoss, ClassificationLoss, Loss, from_config, to_config
from asrl_mlflow.losses.regression.loss import check_one_process
from asrl_mlflow.residuals.sample_weights import WeightRule
from asrl_mlflow.rounds import Round

# Attributes of the booster, which survive save and load: the file itself always claims
# reg:squarederror.
LOSS_ATTRIBUTE = "asrl_loss"
WEIGHT_RULE_ATTRIBUTE = "asrl_weight_rule"
SCALE_ATTRIBUTE = "asrl_objective_scale"
# What `RobustXGBRegressor` computes its intervals from, which is of these trees and no others.
CALIBRATION_ATTRIBUTE = "asrl_calibration"


def train(
    params: Mapping[str, Any] | None,
    dtrain: xgboost.DMatrix,
    num_boost_round: int = 100,
    *,
    loss: BaseLoss,
    evals: Sequence[tuple[xgboost.DMatrix, str]] | None = (),
    early_stopping_rounds: int | None = None,
    metric: str | None = None,
    on_round: Callable[[Round], None] | None = None,
    callbacks: Sequence[xgboost.callback.TrainingCallback] | None = None,
    evals_result: dict[str, dict[str, list[float]]] | None = None,
    xgb_model: str | PathLike[str] | xgboost.Booster | bytearray | None = None,
    verbose_eval: bool | int = False,
    change_loss: bool = False,
    weight_rule: WeightRule | None = None,
    custom_metric: CustomMetric | None = None,
    target_weights: TargetWeights | None = None,
    target_scale: TargetScale = "robust",
) -> xgboost.Booster:
    """Train a booster with a loss of `asrl_mlflow.losses`; otherwise as `xgboost.train`.

    Parameters
    ----------
    params : mapping
        XGBoost's parameters, but not `objective` and `scale_pos_weight`; None means unset.
        `base_score` is set to the (weighted) median of the training target unless given here or
        taken over from `xgb_model`. `eval_metric` adds metrics; "mae" and "rmse" are computed anyway.
    dtrain : DMatrix, QuantileDMatrix or ExtMemQuantileDMatrix
        One label a row, in target units, or a column of labels a target. Its weights are sample weights:
        whole numbers count rows, any others are rescaled to mean 1.
    num_boost_round : int, >= 0
        Rounds to add.
    loss : Loss
        What to minimise.
    evals : sequence of (DMatrix, name)
        Where metrics are computed each round. The last entry stops and selects.
    early_stopping_rounds : int, optional
        At least 1. Stop when the last metric of the last entry of `evals` has not improved for so
        many rounds. The booster returned is then cut at its best round. For trees of gbtree only.
    metric : {"mae", "rmse", "mse", "medae", "trimmed_mae", "quantile"}, optional
        What stops and selects, here and in callbacks that take the last metric: never the loss,
        which is another function each round. By default the last one that `eval_metric` names, as
        XGBoost has it, else "mae".
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
    weight_rule : {"none", "counts", "mean 1"}, optional
        How the weights of the whole table are read that `dtrain` is a part of. With "mean 1" those
        of a part are rescaled to mean 1 also where all of them happen to be whole.
    custom_metric : callable, optional
        As of `xgboost.train`: from predictions, in target units (for classes margins), and their matrix to
        (name, value) or a list of such pairs. It is the last metric, which stops and selects unless `metric` does; smaller
        is better.
    target_weights : sequence of k float, "uncertainty" or "gradient_norm", optional
        What each of several targets counts when the splits of trees are chosen that they share
        (`multi_strategy="multi_output_tree"`). Learned weights follow the rounds: the first ones from
        residuals of the last entry of `evals`, where there is one. Without, all count the same.
    target_scale : {"robust", "none"}
        In which unit targets count the same, in those splits and in the mean over the targets that stops and
        selects: each in its own robust scale (1.4826 MAD), or all in target units, as in XGBoost.

    Returns
    -------
    xgboost.Booster
        Predicts in target units. Attribute "asrl_loss" is the loss's config as JSON,
        "asrl_weight_rule" how sample weights were read ("none", "counts", "mean 1"),
        "asrl_objective_scale" by which power of two objective and regularisation were scaled, and
        "asrl_progress" how far the training has come, for losses that ask, and "asrl_targets" how several
        targets were weighed against each other.

    Raises
    ------
    InputError
        An argument that is not as described, or does nothing; labels that are missing; a target whose
        robust scale is outside [1e-18, 1e15]; a continued model with another loss or other targets; a
        matrix that another training must have for itself; several workers, and classes, several targets or a
        custom_metric; or a round
        whose residuals, gradients or hessians are not finite or too large (the message names round
        and rows).

    Notes
    -----
    `SquaredError`, `AbsoluteError` and `Quantile` train through XGBoost's own objectives.

    Targets whose robust scale (1.4826 MAD) is below 1/16 are learned badly by XGBoost itself (its
    smallest allowed gain is an absolute number), so for them gradient, hessian, lambda, alpha, gamma
    and min_child_weight are multiplied by one power of four (tree boosters only). The booster that
    listeners see and that is returned has the values given; a callback may set others, under the
    names reg_lambda, reg_alpha, gamma and min_child_weight.

    Targets further than 64 robust scales from zero are learned about their median: float32 margins
    lose digits there. Meanwhile the training matrix has other labels and base margins, and most
    trainings give it other weights; it is given back as it was, also after an exception, and callbacks
    meanwhile see it so. (Not where `eval_metric` has XGBoost measure the training rows themselves: there
    far targets are learned as by XGBoost.) A second training on a matrix with other weights takes a
    slower way to the same trees; one that cannot is refused.

    Each of several targets has its own residuals, thresholds and start. Metrics of the names "mae.0",
    "mae.1", ... are those of each target in its unit; "mae" is their mean, as `target_scale` says. Tiny
    targets share one factor. A target's own trees are those of a training for it alone.

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
    if not isinstance(loss, BaseLoss):
        msg = f"train needs a loss, such as losses.auto(); got {loss!r}."
        raise InputError(msg)
    to_config(loss)  # refuses a loss that the booster could not record
    evals = list(evals or ())
    asked = Arguments.checked(
        params,
        dtrain,
        num_boost_round,
        evals,
        early_stopping_rounds,
        metric,
        callbacks or (),
        custom_metric,
        loss,
    )
    going_on = None
    if xgb_model is not None:
        going_on = xgb_model if isinstance(xgb_model, xgboost.Booster) else None
        going_on = going_on or xgboost.Booster(model_file=xgb_model)
        _check_continues(going_on, loss, change_loss=change_loss)

    learner = _learner(
        loss,
        dtrain,
        evals,
        asked,
        weight_rule,
        Targets(target_weights, target_scale),
        going_on=going_on,
    )
    with ExitStack() as stack:
        _lend_evals(stack, [matrix for matrix, _ in evals if matrix is not dtrain], asked)
        matrices = [dtrain, *(matrix for matrix, _ in evals)]
        model = xgboost.Booster(_settings(asked, learner), matrices, xgb_model)
        if xgb_model is not None and isinstance(loss, Loss):
            _check_targets(model, dtrain)
        pace = Pace(
            model,
            xgb_model if isinstance(xgb_model, xgboost.Booster) else None,
            keeps=_is_of(model, loss),
            is_watched=not all(isinstance(each, Onlooker) for each in callbacks or ()),
        )
        rows, builder = learner.begin(
            stack,
            model,
            pace,
            # XGBoost would measure the rows that it trains on by what we have changed about them.
            measures_itself=asked.measures_natively
            and any(each is learner.rows for _, each in learner.judged),
            is_heard=on_round is not None,
        )
        # Before the first round, so that what callbacks save can be continued.
        _record(model, loss, learner)
        pace.record(model)
        evaluation = Evaluation(learned=learner.rows, rows=rows, evals=learner.judged, asked=asked)
        boosting = Boosting(
            builder=builder,
            rows=rows,
            evaluation=evaluation,
            regularisation=Regularisation(learner.factor),
            listeners=[
                *(callbacks or ()),
                *_own_listeners(asked, evals, verbose_eval, early_stopping_rounds),
            ],
            on_round=on_round,
        )
        model = boosting.run(model, num_boost_round)
        pace.record(model)  # a listener may have cut it
    if evals_result is not None:
        evals_result.update(evaluation.history)
    model.set_param({"disable_default_eval_metric": 0})
    return model.reset()


def recorded_loss(booster: xgboost.Booster) -> BaseLoss | None:
    """Read the loss that a booster was trained with; None where `train` did not make the booster.

    Raises
    ------
    InputError
        The loss is a user's own and not registered in this process.
    """
    config = booster.attr(LOSS_ATTRIBUTE)
    return None if config is None else from_config(json.loads(config))


def _learner(
    loss: BaseLoss,
    dtrain: xgboost.DMatrix,
    evals: Sequence[tuple[xgboost.DMatrix, str]],
    asked: Arguments,
    weight_rule: WeightRule | None,
    targets: Targets,
    *,
    going_on: xgboost.Booster | None,
) -> Learner:
    """Choose by loss and labels what is learned: a number, several numbers, or classes."""
    if isinstance(loss, Loss) and count_targets(dtrain) > 1:
        check_one_process("train with several targets", "train a model for each target")
        return SeveralTargetsLearner(
            loss, dtrain, evals, asked, weight_rule, targets, continues=going_on is not None
        )
    targets.check_absent()
    if isinstance(loss, Loss):
        return RegressionLearner(
            loss, dtrain, evals, asked, weight_rule, continues=going_on is not None
        )
    if isinstance(loss, ClassificationLoss):
        check_one_process("train of classes", "train in one process")
        return ClassLearner(loss, dtrain, evals, asked, weight_rule, going_on)
    msg = (
        "train needs a subclass of losses.Loss or of losses.ClassificationLoss; got "
        f"{type(loss).__name__}; derive it from one of them."
    )
    raise InputError(msg)


def _own_listeners(
    asked: Arguments,
    evals: Sequence[tuple[xgboost.DMatrix, str]],
    verbose_eval: bool | int,  # noqa: FBT001 - XGBoost's
    early_stopping_rounds: int | None,
) -> Iterator[xgboost.callback.TrainingCallback]:
    """Give the callbacks that print metrics and stop, as `xgboost.train` adds them."""
    if verbose_eval:
        yield xgboost.callback.EvaluationMonitor(period=int(verbose_eval))
    if early_stopping_rounds:
        # Of our metrics and the user's, smaller is better, whatever their names. XGBoost knows its own.
        is_known = asked.selecting is None and asked.custom_metric is None
        maximize = None if is_known else False
        yield CutAtBest(early_stopping_rounds, evals[-1][1], maximize=maximize)


def _lend_evals(stack: ExitStack, matrices: Sequence[xgboost.DMatrix], asked: Arguments) -> None:
    """Rely on the matrices of `evals` until the training ends."""
    relied_on = INFO if asked.measures_natively else frozenset({"base_margin"})
    for matrix in {id(each): each for each in matrices}.values():
        stack.enter_context(lend(matrix, relied_on=relied_on))


def _record(model: xgboost.Booster, loss: BaseLoss, learner: Learner) -> None:
    """Write into a booster what trains it, and forget what is true of the trees so far only."""
    attributes = {
        LOSS_ATTRIBUTE: json.dumps(to_config(loss)),
        WEIGHT_RULE_ATTRIBUTE: learner.weight_rule,
        SCALE_ATTRIBUTE: f"{learner.factor:.0f}",
    }
    forgotten = dict.fromkeys(("best_iteration", "best_score", CALIBRATION_ATTRIBUTE))
    model.set_attr(**attributes, **forgotten)


def _settings(asked: Arguments, learner: Learner) -> dict[str, Any]:
    """Make XGBoost's parameters."""
    settings = {**learner.settings, "disable_default_eval_metric": int(not asked.natives)}
    if asked.natives:
        settings["eval_metric"] = list(asked.natives)
    return settings


def _check_continues(model: xgboost.Booster, loss: BaseLoss, *, change_loss: bool) -> None:
    if not change_loss and not _is_of(model, loss):
        msg = (
            f"A model goes on with the loss that it recorded; it records {_recorded(model)}, got {loss}; "
            "pass that loss, or change_loss=True."
        )
        raise InputError(msg)


def _check_targets(model: xgboost.Booster, dtrain: xgboost.DMatrix) -> None:
    """Refuse to continue a model of another number of targets."""
    recorded = json.loads(model.save_config())["learner"]["learner_model_param"]["num_target"]
    if int(recorded) != count_targets(dtrain):
        msg = (
            f"A model goes on with the targets that it has; it has {recorded}, got {count_targets(dtrain)} "
            "label columns in dtrain; pass as many."
        )
        raise InputError(msg)


def _is_of(model: xgboost.Booster, loss: BaseLoss) -> bool:
    """Check whether a model records this loss."""
    return _recorded(model) in (loss, to_config(loss))


def _recorded(model: xgboost.Booster) -> BaseLoss | Any:  # noqa: ANN401 - its config, or None
    """Read the loss that a model records.

    Parameters that it does not name, because they came later, have their defaults. A loss that is not
    registered stays a config.
    """
    with suppress(InputError):
        return recorded_loss(model)
    return json.loads(model.attr(LOSS_ATTRIBUTE) or "null")
