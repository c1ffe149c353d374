"""Hold features of any kind with their targets, weights and margins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asrl_mlflow.datasets.columns import check_types
from asrl_mlflow.errors import InputError
from asrl_mlflow.estimators.targets import Target, Vector, check_finite


class Rows:
    """Features of any kind with their targets, weights and margins.

    Parameters
    ----------
    owner : str
        The estimator, for errors.
    features : array, frame or sparse matrix of shape (n, features)
        Of any kind that XGBoost takes.
    values : array of shape (n,)
        Targets as the user gives them.
    target : Target
        Reads them.
    weight : array of shape (n,), optional
        Sample weights.
    margin : array of shape (n,) or (n, K), optional
        What boosting starts from.

    Raises
    ------
    InputError
        Text for a feature, bad targets or weights, or not one target a row.

    Examples
    --------
    >>> from asrl_mlflow.estimators.targets import Numbers
    >>> Rows("fit", np.zeros((3, 1)), [1, 2, 3], Numbers("fit"), None, None).count
    3
    """

    def __init__(
        self,
        owner: str,
        features: Any,  # noqa: ANN401 - whatever XGBoost takes
        values: Vector,
        target: Target,
        weight: Vector | None,
        margin: Vector | None,
    ) -> None:
        if isinstance(features, pd.DataFrame):
            check_types(features, owner)
        self.features, self.weight, self.margin = features, weight, margin
        self._given = values
        self.target: npt.NDArray[Any] = target.read(values)
        if weight is not None:
            numbers = np.asarray(weight)
            check_finite(owner, numbers, "sample weights")
            if (numbers < 0).any():
                msg = (
                    f"{owner} needs sample weights of 0 or more; got one below; leave its row out."
                )
                raise InputError(msg)
        shape = getattr(features, "shape", None)
        if shape and shape[0] != self.count:
            msg = (
                f"{owner} needs one target a row; got {self.count} for {shape[0]} rows (an "
                "inconsistent number of samples); pass as many."
            )
            raise InputError(msg)

    @property
    def count(self) -> int:
        """How many targets there are."""
        return len(self.target)

    def are(self, *given: Any) -> bool:  # noqa: ANN401 - features, targets, weight, margin
        """Check whether these are the very objects that the rows were made of."""
        own = (self.features, self._given, self.weight, self.margin)
        return all(one is other for one, other in zip(own, given, strict=True))
