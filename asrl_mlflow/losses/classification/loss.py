"""Define the interface of losses for classification.

Conventions, stated once, for every loss of this room:

* Classes are 0, 1, ..., K - 1. A margin is a sum of leaves. With one output z, for two classes, class 1
  has the probability sigma(z); with K outputs class k has softmax(z)[k]. Arrays have shape (n,) or (n, K).
* With one output, s is z for rows of class 1 and -z for rows of class 0: a loss is a function l(s). A
  label y strictly between 0 and 1 is a share of class 1, and costs y l(z) + (1 - y) l(-z).
* The hessian handed to XGBoost is a diagonal that is nowhere below the true one, nor below `FLOOR`, as
  zero or negative hessians make nonsense of a tree without a word.
* weight is how hard a row pulls beside how hard it pulls under log loss: 1 for log loss itself, above 1
  where a loss insists on the label, below 1 where it gives the label up.
* Only log loss is a proper score of sigma(z) or softmax(z). `predict` gives the probabilities for which
  the margins are best: those that minimise the expected loss there.
"""

from __future__ import annotations

import functools
import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.loss import BaseLoss, Task
from asrl_mlflow.residuals.conformal import Calibration
from asrl_mlflow.residuals.sample_weights import row_counts

Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

# XGBoost's own least hessian of log loss.
FLOOR = 1e-16
# Divisors are held above this.
TINY = 1e-300
# Rounds of the search for the best constant, of which each comes closer; a few dozen are usual.
_MOST_STEPS = 10_000
_CLOSE = 1e-12
# Columns that are too many to be taken one by one.
_MANY = 8
# How far a start may be from the best constant, in margins, before a warning.
_FAR = 1.0


class Terms(NamedTuple):
    """What rows cost, and the derivatives by their margins.

    Parameters
    ----------
    value : float64 array of shape (n,)
        The loss.
    gradient, hessian : float64 arrays of the margins' shape
        By each output; the hessian is the diagonal for XGBoost, before any floor.
    """

    value: Array
    gradient: Array
    hessian: Array


@dataclass(frozen=True)
class ClassificationLoss(BaseLoss):
    """A loss for classification and its parameters: a function of labels and margins.

    Subclasses are as `BaseLoss` says, and define `margin_terms`, for one output, or `softmax_terms`, for
    one output a class, or both.
    """

    task: ClassVar[Task] = "classification"
    # The least hessian that XGBoost is given.
    FLOOR: ClassVar[float] = FLOOR
    # Whether sigma(z), or softmax(z), are the probabilities themselves.
    IS_PROPER: ClassVar[bool] = False

    def outputs(self, classes: int) -> int:
        """How many margins a row has: one for two classes, else one for each class."""
        return 1 if classes == 2 else classes  # noqa: PLR2004 - two classes

    @property
    def balance(self) -> tuple[float, float]:
        """What rows of class 0 and of class 1 are multiplied by, with one output."""
        return 1.0, 1.0

    def xgboost_objective(self, classes: int) -> str:
        """XGBoost's objective that the booster is kept with.

        Where sigma and softmax of the margins are no probabilities, `Booster.predict` gives none: it gives
        margins for two classes, and classes for more.
        """
        if self.outputs(classes) == 1:
            return "binary:logistic" if self.IS_PROPER else "binary:logitraw"
        return "multi:softprob" if self.IS_PROPER else "multi:softmax"

    @abstractmethod
    def margin_terms(self, s: Array) -> Terms:
        """l(s) and its derivatives, for one output.

        Parameters
        ----------
        s : float64 array of shape (n,)
            Margins, negative where they speak for the other class.
        """

    @abstractmethod
    def softmax_terms(self, own: npt.NDArray[np.bool_], margin: Array) -> Terms:
        """Losses and their derivatives, for one output a class.

        Parameters
        ----------
        own : bool array of shape (n, K)
            True at each row's class.
        margin : float64 array of shape (n, K)
            The margins.
        """

    def terms(self, target: npt.ArrayLike, margin: npt.ArrayLike) -> Terms:
        """What rows cost, and the derivatives by their margins.

        Parameters
        ----------
        target : array of shape (n,)
            Class of each row; with one output also shares of class 1, in [0, 1].
        margin : array of shape (n,) or (n, K)
            Margins, for one output or for one a class.
        """
        y, z = np.asarray(target, np.float64), np.asarray(margin, np.float64)
        if z.ndim > 1:
            return self.softmax_terms(y[:, None] == np.arange(z.shape[1]), z)
        zero, one = self.balance
        is_one = y > 0.5  # noqa: PLR2004 - the nearer class
        times = np.where(is_one, one, zero)
        found = self.margin_terms(np.where(is_one, z, -z))
        hard = Terms(
            times * found.value,
            np.where(is_one, one, -zero) * found.gradient,
            times * found.hessian,
        )
        is_soft = (y > 0) & (y < 1)
        if not is_soft.any():
            return hard
        for_one, for_zero = self.margin_terms(z), self.margin_terms(-z)
        share, rest = y * one, (1 - y) * zero
        soft = Terms(
            share * for_one.value + rest * for_zero.value,
            share * for_one.gradient - rest * for_zero.gradient,
            share * for_one.hessian + rest * for_zero.hessian,
        )
        return Terms(*(np.where(is_soft, *pair) for pair in zip(soft, hard, strict=True)))

    def value(self, target: npt.ArrayLike, margin: npt.ArrayLike) -> Array:
        """What each row costs, shape (n,)."""
        return self.terms(target, margin).value

    def weight(self, target: npt.ArrayLike, margin: npt.ArrayLike) -> Array:
        """How hard each row pulls at its own class, beside log loss, shape (n,).

        Parameters
        ----------
        target : array of shape (n,)
            Class of each row.
        margin : array of shape (n,) or (n, K)
            Margins.

        Examples
        --------
        >>> from asrl_mlflow.losses import GeneralizedCrossEntropy, LogLoss
        >>> LogLoss().weight([1, 0], [-3.0, 2.0])
        array([1., 1.])
        >>> GeneralizedCrossEntropy(q=0.7).weight([1, 0], [-3.0, 2.0]).round(2)
        array([0.12, 0.23])
        """
        y, z = np.asarray(target), np.asarray(margin, np.float64)
        return self._weight(y, z, self.terms(y, z).gradient)

    def _weight(self, y: npt.NDArray[Any], z: Array, gradient: Array) -> Array:
        """As `weight`, from gradients that are known already."""
        if z.ndim == 1:
            far = sigmoid(np.where(y > 0.5, -z, z))  # noqa: PLR2004 - the nearer class
            alone: Array = np.abs(gradient) / np.maximum(far, TINY)
            return alone
        own = y[:, None] == np.arange(z.shape[1])
        far = reduce_rows(np.add, np.where(own, 0.0, softmax(z)))
        pull: Array = np.abs(gradient[own]) / np.maximum(far, TINY)
        return pull

    def predict(self, margin: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Probabilities of the classes, corrected for what the loss makes of margins.

        Parameters
        ----------
        margin : array of shape (n,) or (n, K)
            Margins.

        Returns
        -------
        float64 array of shape (n, K)
            Rows sum to 1. With one output pi = l'(-z) / (l'(z) + l'(-z)), which is sigma(z) for log loss
            and sigma(2 z) for the full M-loss: at that share of class 1 the expected loss is smallest at z.

        Examples
        --------
        >>> from asrl_mlflow.losses import FullM
        >>> FullM().predict(np.array([0.0, 1.0])).round(3)
        array([[0.5  , 0.5  ],
               [0.119, 0.881]])
        """
        z = np.asarray(margin, np.float64)
        if z.ndim > 1:
            return self.softmax_probabilities(softmax(z))
        pulls = [
            -times * self.margin_terms(each).gradient
            for times, each in zip(self.balance[::-1], (z, -z), strict=True)
        ]
        total = np.maximum(pulls[0] + pulls[1], TINY)
        return np.stack([pulls[0] / total, pulls[1] / total], axis=1)

    def softmax_probabilities(self, p: Array) -> Array:
        """Probabilities of the classes, from the softmax of the margins; both of shape (n, K)."""
        raise NotImplementedError

    def row_errors(self, target: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Array:
        """Minus the logarithm of the probability that each row's class was given."""
        given = prediction[np.arange(len(target)), np.asarray(target, np.intp)]
        errors: Array = -np.log(np.maximum(given.astype(np.float64), np.finfo(np.float64).eps))
        return errors

    def calibrate(self, target: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Calibration:
        """Errors as `row_errors` gives them; a label is never called a gross outlier."""
        return Calibration.of_errors(self.row_errors(target, prediction))

    def start(self, shares: npt.ArrayLike) -> Array:
        """The margins at which a constant prediction costs least: where boosting starts.

        Parameters
        ----------
        shares : array of shape (K,)
            Share of each class, above 0.

        Returns
        -------
        float64 array of shape (1,) or (K,)
            One for each output.

        Examples
        --------
        >>> from asrl_mlflow.losses import FullM, LogLoss
        >>> LogLoss().start([0.75, 0.25]).round(3), FullM().start([0.75, 0.25]).round(3)
        (array([-1.099]), array([-0.549]))
        """
        share = np.asarray(shares, np.float64)
        classes = np.arange(len(share))
        outputs = self.outputs(len(share))
        z = np.zeros(outputs)
        for _ in range(_MOST_STEPS):
            rows = np.full(len(share), z[0]) if outputs == 1 else np.tile(z, (len(share), 1))
            found = self.terms(classes, rows)
            step = (share @ found.gradient) / np.maximum(share @ found.hessian, self.FLOOR)
            z = z - np.clip(step, -_FAR, _FAR)
            if np.abs(step).max() < _CLOSE:
                break
        return z

    def objective(
        self,
        predt: npt.NDArray[Any],
        dtrain: Any,  # noqa: ANN401 - a DMatrix; this floor knows numpy only
    ) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian for `xgboost.train(obj=loss.objective)`.

        Parameters
        ----------
        predt : array of shape (n,) or (n, K)
            Margins so far.
        dtrain : xgboost.DMatrix
            Its labels and weights are used; XGBoost itself would drop the weights.

        Notes
        -----
        XGBoost leaves `base_score` at 0.5, as a margin: pass `loss.start(shares)`. What the booster
        predicts are margins, whatever XGBoost calls them: `loss.predict(margins)` gives probabilities.
        `asrl_mlflow.train` does all of that.
        """
        return self._gradient_pair(dtrain.get_label(), predt, dtrain.get_weight())

    def sklearn_objective(
        self,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian for `XGBClassifier(objective=loss.sklearn_objective)`.

        Parameters
        ----------
        y_true : array of shape (n,)
            Class of each row.
        y_pred : array of shape (n,) or (n, K)
            Margins so far.
        sample_weight : array of shape (n,), optional
            Read as `asrl_mlflow.residuals.row_counts` says.

        Notes
        -----
        XGBClassifier's `predict_proba` would be wrong: `asrl_mlflow.RobustXGBClassifier` corrects it.
        """
        return self._gradient_pair(y_true, y_pred, sample_weight)

    def _gradient_pair(
        self, target: npt.ArrayLike, margin: npt.ArrayLike, sample_weight: npt.ArrayLike | None
    ) -> tuple[Float32Array, Float32Array]:
        y, z = np.asarray(target), np.asarray(margin)
        who = type(self).__name__
        if y.ndim != 1 or z.shape[:1] != y.shape or z.ndim > 2:  # noqa: PLR2004 - rows and outputs
            msg = (
                f"{who} needs one label a row, and a margin for each output; got shapes {y.shape} and "
                f"{z.shape}."
            )
            raise InputError(msg)
        self.check_outputs(1 if z.ndim == 1 else z.shape[1])
        most = 1 if z.ndim == 1 else z.shape[1] - 1
        if y.size and not ((y >= 0) & (y <= most) & ((z.ndim == 1) | (y == np.floor(y)))).all():
            kinds = "shares of class 1, in [0, 1]" if z.ndim == 1 else f"classes 0 to {most}"
            msg = f"{who} needs labels that are {kinds}; got {y.min():g} to {y.max():g}; number the classes."
            raise InputError(msg)
        counts = row_counts(sample_weight, y.size)
        if len(z) > 1 and (z == z[0]).all():
            self._warn_of_far_start(y, z[0], counts.values)
        pair = self.gradient_pair(y, z, counts.values)
        return pair[0], pair[1]

    def gradient_pair(
        self, target: npt.NDArray[Any], margin: npt.NDArray[Any], counts: Array | None
    ) -> tuple[Float32Array, Float32Array, float]:
        """Gradient and hessian for XGBoost, of the margins' shape, and the mean weight of a row.

        Parameters
        ----------
        target : array of shape (n,)
            Class of each row, or shares of class 1.
        margin : array of shape (n,) or (n, K)
            Margins.
        counts : array of shape (n,), optional
            Sample weights as numbers of rows; multiplied in.

        Raises
        ------
        InputError
            Rows (the message counts them) whose gradient is not finite.
        """
        found = self.terms(target, margin)
        gradient, hessian = found.gradient, np.maximum(found.hessian, self.FLOOR)
        if counts is not None:
            times = counts if gradient.ndim == 1 else counts[:, None]
            gradient, hessian = gradient * times, hessian * times
        pair = gradient.astype(np.float32), hessian.astype(np.float32)
        sound = np.isfinite(pair[0]) & np.isfinite(pair[1])
        bad = int(np.count_nonzero(~(sound if sound.ndim == 1 else sound.all(axis=1))))
        if bad:
            msg = (
                f"Gradients must be finite; got {bad} of {len(gradient)} rows where they are not; look for "
                "sample weights of extreme size, or lower the learning rate."
            )
            raise InputError(msg)
        weight = self._weight(target, np.asarray(margin, np.float64), found.gradient)
        return *pair, float(np.average(weight, weights=counts))

    def check_outputs(self, outputs: int) -> None:
        """Refuse a number of outputs that the loss has no form for.

        Raises
        ------
        InputError
            As above.
        """

    def _warn_of_far_start(self, y: npt.NDArray[Any], z: Any, counts: Array | None) -> None:  # noqa: ANN401 - a margin or several
        """Warn where boosting starts far from the constant that costs least."""
        best = self.start(class_shares(y, counts, max(2, np.size(z))))
        off = np.atleast_1d(z) - best
        if np.abs(off - (off.mean() if best.size > 1 else 0)).max() > _FAR:
            warnings.warn(
                f"{type(self).__name__} starts at margins {np.atleast_1d(z).round(3).tolist()}, far from the "
                f"best constant {best.round(3).tolist()}, and the first rounds walk there; pass "
                "base_score=loss.start(shares of the classes).",
                UserWarning,
                stacklevel=4,
            )


def class_shares(target: npt.ArrayLike, counts: Array | None, classes: int) -> Array:
    """Share of each class among labelled rows, that of an absent class held at half a row.

    Parameters
    ----------
    target : array of shape (n,)
        Class of each row; for two classes also shares of class 1.
    counts : array of shape (n,), optional
        Sample weights as numbers of rows.
    classes : int, >= 2
        How many classes there are.

    Examples
    --------
    >>> class_shares([0, 1, 1, 1], None, 2)
    array([0.25, 0.75])
    """
    y = np.asarray(target, np.float64)
    times = np.ones(y.shape) if counts is None else counts
    if classes == 2:  # noqa: PLR2004 - labels may be shares
        rows = np.array([times @ (1 - y), times @ y])
    else:
        rows = np.bincount(y.astype(np.intp), weights=times, minlength=classes)
    rows = np.maximum(rows, 0.5)
    shares: Array = rows / rows.sum()
    return shares


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), accurate at both ends.

    Examples
    --------
    >>> sigmoid(np.array([-800.0, 0.0, 800.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(z))
    share: Array = np.where(z >= 0, 1.0, small) / (1 + small)
    return share


def softmax(z: Array) -> Array:
    """exp(z) over its sum, row by row.

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0], [900.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    raised = np.exp(z - reduce_rows(np.maximum, z)[:, None])
    total: Array = raised / reduce_rows(np.add, raised)[:, None]
    return total


def reduce_rows(function: np.ufunc, values: Array) -> Array:
    """`function.reduce(values, axis=-1)`, the same to the bit; with few columns several times as fast.

    Parameters
    ----------
    function : np.ufunc
        np.add, or np.maximum.
    values : float64 array of shape (..., K)
        Rows of K values.

    Examples
    --------
    >>> reduce_rows(np.add, np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([3., 7.])
    """
    # numpy adds fewer than eight numbers one after another, and more in another order.
    if values.shape[-1] >= _MANY:
        many: Array = function.reduce(values, axis=-1)
        return many
    return functools.reduce(function, np.moveaxis(values, -1, 0))
