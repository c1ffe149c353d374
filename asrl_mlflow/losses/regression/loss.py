"""Define the interface of losses for regression.

Conventions, stated once, for every loss of this room:

* r is the residual, target minus prediction, in target units; arrays have shape (n,), float64.
* value rho(r): 0 at 0; the same for r and -r, but for quantile and expectile. influence psi(r) =
  d rho / d r. weight w(r) = psi(r) / r, at r = 0 its limit. By the prediction the gradient is
  -psi(r) = -w(r) r.
* The hessian handed to XGBoost is w, not rho''. Where rho is the same on both sides and w does not
  increase with |r|, it is a majoriser: no tree can raise the loss at fixed thresholds. rho'' is 0 or
  negative outside the core, and a small floor under it explodes.
* On the way to XGBoost both are divided by the weight of one full row, w(0), so that hessians
  count rows and `lambda` and `min_child_weight` keep their meaning.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import warnings
from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.loss import BaseLoss, Task
from asrl_mlflow.losses.regression.pointwise import Array, PointwiseLoss
from asrl_mlflow.losses.regression.torch_form import value_of
from asrl_mlflow.losses.regression.weighing import weigh
from asrl_mlflow.losses.statistics import Statistics
from asrl_mlflow.residuals.conformal import Calibration
from asrl_mlflow.residuals.sample_weights import row_counts
from asrl_mlflow.residuals.statistics import NORMAL, Residuals, distances

# A threshold or spread this small beside the quantile of |r| it is measured with counts as zero.
NEGLIGIBLE = 1e-6


@dataclasses.dataclass(frozen=True)
class Loss(BaseLoss):
    """A loss for regression and its parameters: every round it adapts to the residuals.

    Subclasses are as `BaseLoss` says, and define `adapt`.
    """

    task: ClassVar[Task] = "regression"

    def __init_subclass__(cls) -> None:
        """Drop an inherited objective of XGBoost where a subclass defines its own adapt."""
        owners = [
            next(each for each in cls.__mro__ if name in vars(each))
            for name in ("adapt", "XGBOOST_OBJECTIVE")
        ]
        if cls.__mro__.index(owners[0]) < cls.__mro__.index(owners[1]):
            cls.XGBOOST_OBJECTIVE = None

    @abstractmethod
    def adapt(self, stats: Statistics) -> PointwiseLoss:
        """The pointwise loss for residuals with these statistics.

        Ask them here and now, and keep the numbers: during a training their rows are overwritten
        after this call, and a later question is refused.
        """

    def predict(self, margin: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The margin itself, in target units."""
        return margin

    def row_errors(self, target: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Array:
        """Absolute residuals, in target units."""
        errors: Array = np.abs(target - prediction.astype(np.float64))
        return errors

    def calibrate(self, target: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Calibration:
        """Absolute residuals, and which of them are those of gross outliers."""
        return Calibration.of_residuals(np.asarray(target - prediction.astype(np.float64)))

    def _gradient_pair(
        self, target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        y, prediction = np.asarray(target), np.asarray(prediction)
        if y.shape != prediction.shape:
            msg = (
                f"{type(self).__name__} needs one target a row and one prediction a target; got "
                f"shapes {y.shape} and {prediction.shape}."
            )
            raise InputError(msg)
        check_one_process(
            type(self).__name__, "asrl_mlflow.train, called on each worker, knows all rows"
        )
        r = y - prediction
        counts = row_counts(sample_weight, r.size)
        stats = Residuals(r, counts, start=partial(distances, y, counts))
        if r.size > 1 and prediction.min() == prediction.max():
            _warn_of_far_start(type(self).__name__, float(prediction.flat[0]), stats)
        weighed = weigh(self.adapt(stats), r, counts.values)
        return weighed.gradient, weighed.hessian

    @staticmethod
    def base_score(target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Where boosting with `objective` or `sklearn_objective` should start: the median of the target.

        Parameters
        ----------
        target : array of shape (n,)
            Training targets.
        sample_weight : array of shape (n,), optional
            Their weights, read as `asrl_mlflow.residuals.row_counts` says.

        Examples
        --------
        >>> Loss.base_score([1.0, 2.0, 60.0])
        2.0
        """
        y = np.asarray(target)
        return float(Residuals(y, row_counts(sample_weight, y.size)).median())

    def objective(
        self,
        predt: npt.NDArray[Any],
        dtrain: Any,  # noqa: ANN401 - a DMatrix; this floor knows numpy only
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Gradient and hessian for `xgboost.train(obj=loss.objective)`.

        Parameters
        ----------
        predt : array of shape (n,)
            Predictions so far, in target units.
        dtrain : xgboost.DMatrix
            Its labels and weights are used; XGBoost itself would drop the weights.

        Notes
        -----
        XGBoost leaves `base_score` at 0.5 for custom objectives, and the first rounds walk from there:
        set it, `{"base_score": loss.base_score(y)}`. Where the start is far from the target a warning
        says so. `asrl_mlflow.train` does that and more.
        """
        if not hasattr(dtrain, "get_label"):
            msg = (
                f"{type(self).__name__}.objective is for xgboost.train; got a "
                f"{type(dtrain).__name__} for the matrix; XGBRegressor takes sklearn_objective."
            )
            raise InputError(msg)
        return self._gradient_pair(dtrain.get_label(), predt, dtrain.get_weight())

    def sklearn_objective(
        self,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Gradient and hessian for `XGBRegressor(objective=loss.sklearn_objective)`.

        Parameters
        ----------
        y_true, y_pred : arrays of shape (n,)
            Targets and predictions, in target units.
        sample_weight : array of shape (n,), optional
            Read as `asrl_mlflow.residuals.row_counts` says.

        Notes
        -----
        `base_score` stays 0.5 unless it is passed: `XGBRegressor(base_score=loss.base_score(y), ...)`;
        `asrl_mlflow.RobustXGBRegressor` needs no reminder. Where the start is far from the target a
        warning says so.
        """
        return self._gradient_pair(y_true, y_pred, sample_weight)

    def lightgbm_objective(
        self,
        preds: npt.NDArray[Any],
        train_data: Any,  # noqa: ANN401 - a Dataset; this floor knows numpy only
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Gradient and hessian for `lightgbm.train({"objective": loss.lightgbm_objective}, ...)`.

        Parameters
        ----------
        preds : array of shape (n,)
            Predictions so far, in target units.
        train_data : lightgbm.Dataset
            Its labels and weights are used; LightGBM itself would drop the weights. Labels are float32.

        Notes
        -----
        With an objective of one's own LightGBM starts from 0: give the Dataset
        `init_score=np.full(n, np.median(y))`, and add the median to what the booster predicts.
        `LGBMRegressor(objective=...)` takes `sklearn_objective`.
        """
        return self._gradient_pair(train_data.get_label(), preds, train_data.get_weight())

    def torch(self, residual: Any, sample_weight: npt.ArrayLike | None = None) -> Any:  # noqa: ANN401 - tensors
        """The loss of rows for PyTorch, which has to be installed.

        Parameters
        ----------
        residual : torch.Tensor of shape (n,)
            Target minus prediction, in target units. The loss adapts to them as they are; its thresholds
            are numbers, through which nothing is differentiated.
        sample_weight : array of shape (n,), optional
            What rows count when it adapts. The values are not multiplied by it.

        Returns
        -------
        torch.Tensor of shape (n,)
            rho of each row, in the type and on the device of `residual`. Its derivative is the influence:
            `loss.torch(y - model(x)).mean().backward()`.

        Raises
        ------
        InputError
            PyTorch is not installed; residuals that are not finite.

        Notes
        -----
        Computed by numpy, hence on the processor: simple, and exactly the values of `value`. It cannot be
        differentiated twice. Losses of two stages remain in the first one.
        """
        stats = Residuals(residual.detach().cpu().numpy(), sample_weight)
        return value_of(self.adapt(stats), residual)


def _warn_of_far_start(who: str, start: float, stats: Residuals) -> None:
    """Warn where boosting starts further from the median of the target than its robust deviation."""
    off, spread = stats.median(), NORMAL * stats.mad()
    if abs(off) > spread:
        warnings.warn(
            f"{who} starts at {start:.4g}, where most targets are far from it (median {start + off:.4g}, "
            f"robust deviation {spread:.2g}), and the first rounds walk there; pass "
            f"base_score={start + off:.4g}, which loss.base_score(target) gives.",
            UserWarning,
            stacklevel=4,
        )


def check_one_process(who: str, remedy: str) -> None:
    """Raise InputError inside a collective of several workers, each with a part of the rows."""
    # A process in a collective has loaded this module; losses import numpy only.
    collective = sys.modules.get("xgboost.collective")
    workers = 1 if collective is None else collective.get_world_size()
    if workers > 1:
        msg = (
            f"{who} learns from the rows of one process; got a collective of {workers} workers, "
            f"each of which would learn from its own; {remedy}."
        )
        raise InputError(msg)


def widened(threshold: float, stats: Statistics) -> tuple[float, int]:
    """Replace a threshold that is zero, or almost, by a wider one; return it, and 1 where it was replaced.

    A threshold of zero (most residuals 0 but for noise in their last digits, as with zero-inflated
    targets) would take all weight from every other row, and training would stop without a word. In
    its place comes the 0.95 quantile of |r|; where that is 0, the standard deviation; and where all
    residuals are 0, so that there is nothing to weigh, 1.
    """
    # Beside the largest residual, which is known without looking for a place in their order.
    if threshold > NEGLIGIBLE * stats.quantile_abs(1.0):
        return threshold, 0
    wide = stats.quantile_abs(0.95) or math.sqrt(stats.variance()) or 1.0
    return (threshold, 0) if threshold > NEGLIGIBLE * wide else (wide, 1)
