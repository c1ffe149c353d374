"""An XGBoost classifier with a loss for classes, for scikit-learn's pipelines and searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from asrl_mlflow.boosting import recorded_loss
from asrl_mlflow.errors import InputError
from asrl_mlflow.estimators.model import RobustXGBModel
from asrl_mlflow.estimators.targets import Classes, Target, Vector
from asrl_mlflow.intervals import kept
from asrl_mlflow.losses import BaseLoss, ClassificationLoss

_TWO = 2


class RobustXGBClassifier(RobustXGBModel, xgboost.XGBClassifier):
    """`xgboost.XGBClassifier` with a loss of `asrl_mlflow.losses`, for labels some of which are wrong.

    Parameters
    ----------
    loss : str, ClassificationLoss, or mapping
        What to minimise: a loss, or the name of one, with its default parameters. In searches its
        parameters are `loss__q` and so on. A mapping is a config as `losses.to_config` gives.
    class_weight : "balanced", dict, or None
        By how much rows of a class count more, {label: weight}; labels that it does not name have 1.
        "balanced" lets each class count alike. Sample weights are multiplied by it; rows of `eval_set` are
        not.
    set_folds : int, 0 or at least 2
        By how many folds `fit` measures how probable a model finds the labels of rows that it did not
        learn from, for `predict_set`; each costs one more training, without callbacks. With 0 these rows
        are the last entry of `eval_set`, unless it has the training rows or early stopping has used it.
    **kwargs
        Those of `xgboost.XGBClassifier`, but not `objective` and `scale_pos_weight`.

    Attributes
    ----------
    classes_ : array of shape (K,)
        The labels, sorted: the columns of probabilities and sets.
    n_classes_ : int
        K, at least 2.

    Raises
    ------
    InputError
        A parameter of the loss that is given to the constructor by itself. From `fit`: an `objective`, an
        unknown loss, one for numbers or for another number of classes, a parameter outside its interval,
        bad labels or weights, or what `train` refuses.

    Notes
    -----
    Labels are text, whole numbers or booleans. Trained by `asrl_mlflow.train`: sample weights count (whole
    numbers as repeated rows, others rescaled to mean 1), and metrics are log loss and error beside
    `eval_metric`, which may be "brier" and "calibration_error" too, XGBoost's "auc" and "aucpr", or a
    function of codes 0, 1, ... and probabilities (of two classes: of the second). With `loss="log_loss"` it
    predicts what XGBClassifier does to the bit. With early stopping only the rounds up to the best one are
    kept. With `xgb_model` the classes are those of that model. For sets each row counts once, but rows of
    weight 0 do not.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(600, 2))
    >>> y = np.where(x[:, 0] > 0, "high", "low")
    >>> wrong = rng.random(600) < 0.3  # three labels in ten
    >>> given = np.where(wrong, np.where(y == "high", "low", "high"), y)
    >>> model = RobustXGBClassifier(
    ...     loss="generalized_cross_entropy", n_estimators=20, max_depth=2, set_folds=5
    ... )
    >>> bool(model.fit(x, given).score(x, y) > 0.95)
    True
    >>> model.predict_set([[3.0, 0.0]], level=0.5)
       high    low
    0  True  False
    """

    TASK: ClassVar[str] = "classification"
    OTHER: ClassVar[str] = "RobustXGBRegressor"
    OBJECTIVE: ClassVar[str] = "binary:logistic"
    OWN: ClassVar[tuple[str, ...]] = ("loss", "class_weight", "set_folds")
    FOLDS: ClassVar[str] = "set_folds"

    def __init__(
        self,
        *,
        loss: str | BaseLoss | Mapping[str, Any] = "log_loss",
        class_weight: str | dict[Any, float] | None = None,
        set_folds: int = 0,
        **kwargs: Any,  # noqa: ANN401 - XGBoost's parameters
    ) -> None:
        super().__init__(loss=loss, **kwargs)
        self.class_weight = class_weight
        self.set_folds = set_folds

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The labels, sorted."""
        check_is_fitted(self)
        return Classes.recorded(self._owner, self.get_booster()).labels

    def predict(
        self,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes, under scikit-learn's name
        *,
        output_margin: bool = False,
        **kwargs: Any,  # noqa: ANN401 - XGBoost's arguments
    ) -> npt.NDArray[Any]:
        """Predict the most probable class.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n, features)
            Of any kind that `fit` takes.
        output_margin : bool
            Give sums of leaves instead, before the loss makes probabilities of them.
        **kwargs
            Those of `xgboost.XGBClassifier.predict`.

        Returns
        -------
        array of shape (n,)
            Labels. Margins are float32: one for two classes, if the loss needs no more, else (n, K).
        """
        if output_margin:
            margins: npt.NDArray[Any] = super().predict(X, output_margin=True, **kwargs)
            return margins
        return self.classes_[self.predict_proba(X, **kwargs).argmax(axis=1)]

    def predict_proba(
        self,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes, under scikit-learn's name
        validate_features: bool = True,  # noqa: FBT001, FBT002 - XGBoost's signature
        base_margin: Vector | None = None,
        iteration_range: tuple[int | np.integer[Any], int | np.integer[Any]] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Predict the probabilities of the classes, corrected for what the loss makes of margins.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n, features)
            Of any kind that `fit` takes.
        validate_features, base_margin, iteration_range
            Those of `xgboost.XGBClassifier.predict_proba`.

        Returns
        -------
        float32 array of shape (n, K)
            Rows sum to 1; columns are those of `classes_`.
        """
        given: dict[str, Any] = {
            "validate_features": validate_features,
            "base_margin": base_margin,
            "iteration_range": iteration_range,
        }
        if self._fitted_loss().IS_PROPER:
            own: npt.NDArray[np.float32] = super().predict_proba(X, **given)
            return own
        return self._probabilities(X, given).astype(np.float32)

    def predict_set(
        self,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes, under scikit-learn's name
        *,
        level: float = 0.9,
        validate_features: bool = True,
        base_margin: Vector | None = None,
    ) -> pd.DataFrame:
        """Predict for each row a set of classes that has the right one as often as `level` says.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n, features)
            Of any kind that `fit` takes.
        level : float, in (0, 1)
            Share of new rows, at least, whose label should be in its set, on average over rows like those
            that calibrate: labels that are wrong as often as theirs.
        validate_features, base_margin
            Those of `xgboost.XGBClassifier.predict_proba`.

        Returns
        -------
        DataFrame of bool, shape (n, K)
            True where a class is in the set. Columns are `classes_`, the index is that of X if that is a
            pandas frame.

        Raises
        ------
        InputError
            The level is outside (0, 1), or `fit` had no rows to calibrate by.

        Notes
        -----
        Split-conformal sets: a class is in the set where its probability is not below that of the labels
        of all but `1 - level` of the calibration rows. The class of `predict` is in every set, so none is
        empty. Plain conformal sets would be where no class is probable enough, and so say of the rows that
        the model is least sure of that they have no class at all. Keeping that class can only raise the
        share of rows whose label is in the set; where a model is right more often than `level`, it does.

        References
        ----------
        M. Sadinle et al., Least Ambiguous Set-Valued Classifiers with Bounded Error Levels, 2019,
        arXiv 1609.00451.
        """
        calibration = kept(self.get_booster())
        if calibration is None:
            msg = (
                "Sets of classes need rows that training did not see; got a model without any; pass "
                "set_folds=5, or an eval_set of other rows without early stopping."
            )
            raise InputError(msg)
        largest = calibration.half_width(level)
        given: dict[str, Any] = {
            "validate_features": validate_features,
            "base_margin": base_margin,
        }
        loss, labels = self._fitted_loss(), self.classes_
        found = self._probabilities(X, given)
        rows = np.arange(len(found))
        sets = np.empty(found.shape, dtype=bool)
        for code in range(labels.size):
            sets[:, code] = loss.row_errors(np.full(len(rows), code), found) <= largest
        sets[rows, self.predict_proba(X, **given).argmax(axis=1)] = True
        return pd.DataFrame(
            sets, columns=labels, index=X.index if isinstance(X, pd.DataFrame) else None
        )

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's type
        """Describe the classifier to scikit-learn: as XGBoost's, but for one label a row."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags

    def _target(self, y: Vector, model: xgboost.Booster | None) -> Target:
        if model is not None:
            return Classes.recorded(self._owner, model)
        return Classes.of(self._owner, y)

    def _weigh(self, y: Vector, sample_weight: Vector | None) -> Vector | None:
        if self.class_weight is None:
            return sample_weight
        times = self.class_weight
        if not (isinstance(times, dict) or (isinstance(times, str) and times == "balanced")):
            msg = (
                f"{self._owner} needs a class_weight of None, 'balanced' or {{label: weight}}; got "
                f"{times!r:.40}; pass 'balanced', say."
            )
            raise InputError(msg)
        try:
            weight: npt.NDArray[np.float64] = compute_sample_weight(times, column_or_1d(y))
        except ValueError as error:
            msg = (
                f"{self._owner} needs a class_weight with labels of the rows and numbers; got: {error}; "
                "name the labels as in y."
            )
            raise InputError(msg) from error
        if sample_weight is None:
            return weight
        own = np.asarray(sample_weight)
        if own.shape != weight.shape:
            msg = (
                f"{self._owner} needs one sample weight a row; got shape {own.shape} for {weight.size} "
                "rows; pass as many."
            )
            raise InputError(msg)
        product: npt.NDArray[Any] = weight * own
        return product

    def _for_metric(self, prediction: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return prediction[:, 1] if prediction.shape[1] == _TWO else prediction

    def _keep(self, booster: xgboost.Booster, target: Target) -> None:
        super()._keep(booster, target)
        self.n_classes_ = int(target.settings["num_class"])

    def _boosting_params(self) -> dict[str, Any]:
        if self.scale_pos_weight not in (None, 1):
            msg = (
                f"{self._owner} weighs classes by class_weight; got scale_pos_weight="
                f"{self.scale_pos_weight}; pass class_weight={{label: weight}}."
            )
            raise InputError(msg)
        return super()._boosting_params()

    def _fitted_loss(self) -> ClassificationLoss:
        """The loss that the trees were built for: another one may have been set since."""
        loss = recorded_loss(self.get_booster())
        if not isinstance(loss, ClassificationLoss):
            msg = f"{self._owner} needs a booster trained with a loss for classes; got {loss}."
            raise InputError(msg)
        return loss

    def _probabilities(
        self,
        X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes, under scikit-learn's name
        given: Mapping[str, Any],
    ) -> npt.NDArray[Any]:
        """Probabilities with all digits, the same for rows to calibrate by and rows to predict."""
        margin = self.predict(X, output_margin=True, **given)
        return (
            self._fitted_loss().predict(margin) if len(margin) else np.empty((0, self.n_classes_))
        )
