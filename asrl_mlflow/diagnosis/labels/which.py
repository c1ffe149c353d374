"""Rank rows in memory, or read the ranking that a run keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asrl_mlflow.datasets.splits import Label
from asrl_mlflow.diagnosis.labels.class_ranking import rank_classes
from asrl_mlflow.diagnosis.labels.keeping import FOLDS, count_repeats
from asrl_mlflow.diagnosis.labels.ranking import rank_residuals
from asrl_mlflow.diagnosis.labels.reading import read_ranking
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import Loss
from asrl_mlflow.records.unseen import OutOfFold, average
from asrl_mlflow.residuals.sample_weights import row_counts
from asrl_mlflow.system.listening import unheard
from asrl_mlflow.system.threads import thread_count

if TYPE_CHECKING:
    from asrl_mlflow.estimators import RobustXGBClassifier, RobustXGBRegressor

_FEWEST_ROWS = 2 * FOLDS


def which_labels(
    source: str | RobustXGBRegressor | RobustXGBClassifier,
    X: Any = None,  # noqa: ANN401, N803 - whatever XGBoost takes, under scikit-learn's name
    y: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank the rows of a training by how likely their label is wrong, most suspicious first.

    Parameters
    ----------
    source : str, RobustXGBRegressor or RobustXGBClassifier
        A run's id, `runs:/<id>`, `models:/<name>/<version>` or `models:/<name>@<alias>`: the table that
        the run keeps of its training rows is read. Or an estimator, fitted or not, whose loss and
        parameters are trained on X and y; it stays as it is.
    X : array, frame or sparse matrix of shape (n, features), optional
        Rows for the estimator.
    y : array of shape (n,), optional
        Their targets or classes, which may be wrong.
    sample_weight : array of shape (n,), optional
        Their weights; rows of weight 0 are left out.
    groups : array of shape (n,), optional
        Rows with the same value are never predicted by a booster that learned from one of them.
    seed : int
        The seed that shuffles rows into folds.

    Returns
    -------
    DataFrame of shape (n, 6)
        `row`, the position of the row in the table's file or in X, from 0; `target`; `prediction`, out of
        fold; `residual`, target minus prediction; `weight`, what the final loss lets a row with such a
        residual count, as a share of a full row; `score`, the share of rows whose residual is at least as
        far from those of rows with a similar prediction. The lower the score the more suspicious is the
        label. For classes `row`; `label`; `probability`, that of the label, out of fold; `likeliest`, the
        other class that is most probable, and `likeliest_probability`; and `score`, in [0, 1], half of 1 and
        the difference of both.

    Raises
    ------
    InputError
        There is no such run or model, or it keeps no table: of more than 100000 training rows, or of an
        earlier release. Rows that do not fit the estimator, or are fewer than 4.
    StoreError
        The store does not answer.

    Notes
    -----
    A prediction is the mean of five boosters, each of which learned from another half of the rows; of two
    above 5000 rows. What `tune` and `main` train at their end is predicted once, by the folds that calibrate
    its intervals. With a time, rows are predicted by earlier ones, and the earliest are left out. The score
    ranks: it is no probability, and a table without wrong labels has a first row too.

    Examples
    --------
    >>> from asrl_mlflow import RobustXGBRegressor
    >>> x = np.linspace(0, 1, 300)[:, None]
    >>> y = 5 + 3 * x[:, 0]
    >>> y[[40, 200]] += [2, -1]
    >>> ranked = which_labels(RobustXGBRegressor(n_estimators=50), x, y)
    >>> ranked["row"].head(2).tolist()
    [40, 200]
    """
    if isinstance(source, str):
        if X is not None or y is not None:
            msg = (
                f"which_labels takes a run or model alone; got {source!r} with rows; leave X and y out, or "
                "pass an estimator."
            )
            raise InputError(msg)
        return read_ranking(source)
    # Here, not above: flows read and keep rankings without estimators.
    from asrl_mlflow.estimators import (  # noqa: PLC0415 - see above
        RobustXGBClassifier,
        RobustXGBRegressor,
    )
    from asrl_mlflow.estimators.targets import Classes  # noqa: PLC0415 - see above

    if not isinstance(source, RobustXGBRegressor | RobustXGBClassifier) or X is None or y is None:
        msg = (
            "which_labels takes a run, a model, or an estimator of this package with X and y; got "
            f"{type(source).__name__}{'' if X is None or y is None else ' with rows'}; pass "
            "which_labels(estimator, X, y), say."
        )
        raise InputError(msg)
    loss = source.get_loss()
    if isinstance(loss, Loss):
        target: npt.NDArray[Any] = np.asarray(y, dtype=np.float64)
        classes: npt.NDArray[Any] = np.empty(0)
    else:
        missing = np.flatnonzero(pd.isna(np.asarray(y, dtype=object)))
        if missing.size:
            msg = (
                f"which_labels needs a label in every row; got {missing.size} missing, the first in row "
                f"{missing[0]} (from 0); leave those rows out."
            )
            raise InputError(msg)
        known = Classes.of("which_labels", y)
        classes, target = known.labels, known.read(y)
    if not hasattr(X, "shape"):
        X = np.asarray(X)  # noqa: N806 - scikit-learn's name
    with unheard():
        found = _predict(source, X, target, tuple(classes.tolist()), sample_weight, groups, seed)
    return rank_residuals(found, loss) if isinstance(loss, Loss) else rank_classes(found)


def _predict(
    estimator: RobustXGBRegressor | RobustXGBClassifier,
    X: Any,  # noqa: ANN401, N803 - whatever XGBoost takes
    target: npt.NDArray[Any],
    classes: tuple[Label, ...],
    sample_weight: npt.ArrayLike | None,
    groups: npt.ArrayLike | None,
    seed: int,
) -> OutOfFold:
    """Predict rows by copies of the estimator that learned from a half of the rows without them."""
    # Here, not above: it takes a second to import.
    from sklearn.model_selection import (  # noqa: PLC0415 - see above
        GroupKFold,
        KFold,
        StratifiedGroupKFold,
        StratifiedKFold,
        cross_val_predict,
    )

    if target.shape != X.shape[:1] or target.size < _FEWEST_ROWS:
        msg = (
            f"which_labels needs one target for each of at least {_FEWEST_ROWS} rows; got targets of shape "
            f"{target.shape} for X of shape {tuple(X.shape)}; pass as many, in one column."
        )
        raise InputError(msg)
    counted, rule = row_counts(sample_weight, target.size)
    weight = np.ones(target.size) if counted is None else counted
    copy = _unfitted(estimator, X, classes)
    if groups is not None and len(np.unique(np.asarray(groups))) < FOLDS:
        msg = f"which_labels needs at least {FOLDS} groups; got one; leave groups out."
        raise InputError(msg)
    if classes:
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    else:
        kind = KFold if groups is None else GroupKFold
    predictions = [
        cross_val_predict(
            copy,
            X,
            target,
            groups=groups,
            cv=kind(FOLDS, shuffle=True, random_state=seed + repeat),
            method="predict_proba" if classes else "predict",
            params=None if counted is None else {"sample_weight": weight},
        ).astype(np.float64)
        for repeat in range(count_repeats(target.size))
    ]
    kept = np.flatnonzero(weight > 0)
    prediction, spread = average(predictions)
    return OutOfFold(
        numbers=kept,
        target=target[kept].astype(np.float64),
        prediction=prediction[kept],
        spread=spread[kept],
        weight=None if counted is None else weight[kept],
        weight_rule=rule,
        classes=classes,
    )


def _unfitted(
    estimator: RobustXGBRegressor | RobustXGBClassifier,
    X: Any,  # noqa: ANN401, N803 - as above
    classes: tuple[Label, ...],
) -> Any:  # noqa: ANN401 - as above
    """Copy an estimator's parameters, with the number of rounds that a fitted one has kept."""
    from sklearn.base import clone  # noqa: PLC0415 - as above

    copy = clone(estimator)
    # Copies learn codes instead of labels.
    if isinstance(weights := copy.get_params().get("class_weight"), Mapping):
        codes = {label: code for code, label in enumerate(classes)}
        copy.set_params(
            class_weight={codes.get(label, label): each for label, each in weights.items()}
        )
    own = {name: 0 for name in ("interval_folds", "set_folds") if name in copy.get_params()}
    copy.set_params(**own, early_stopping_rounds=None, callbacks=None, eval_metric=None)
    if estimator.__sklearn_is_fitted__():
        copy.set_params(n_estimators=estimator.get_booster().num_boosted_rounds())
    if copy.n_jobs is None:
        copy.set_params(n_jobs=thread_count(*X.shape))
    return copy
