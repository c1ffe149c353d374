"""Calibrate prediction intervals by absolute residuals of rows that a model did not learn from."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.outliers import find_outliers

# With more rows a random sample of them is kept, so that a model stays small.
MOST_ROWS = 20_000
# With fewer there is no telling which rows are spread wider.
FEWEST_FOR_SPREAD = 100

_COMPANIONS = ("is_outlier", "is_above", "relative", "spread")


@dataclass(frozen=True)
class Calibration:
    """Errors of rows that a model did not learn from, and which of them are those of gross outliers.

    Parameters
    ----------
    errors : float64 array of shape (n,), n <= MOST_ROWS
        Absolute residuals, in target units; of classes minus the logarithm of the probability that the
        row's class was given.
    is_outlier : bool array of shape (n,)
        Whether the row's target is probably a gross outlier; of classes it is never known.
    is_above : bool array of shape (n,), optional
        Whether the target lies above the prediction; None of classes, and of models that kept no sides.
    relative : float64 array of shape (n,), optional
        Errors divided by the spread that is expected of their rows; None where no spread was learned.
    spread : uint8 array of shape (b,), optional
        The booster that predicts the logarithm of a row's spread, as bytes of XGBoost's UBJSON.
    """

    errors: npt.NDArray[np.float64]
    is_outlier: npt.NDArray[np.bool_]
    is_above: npt.NDArray[np.bool_] | None = None
    relative: npt.NDArray[np.float64] | None = None
    spread: npt.NDArray[np.uint8] | None = None

    @property
    def residual(self) -> npt.NDArray[np.float64] | None:
        """Target minus prediction, in target units; None where sides are not known."""
        return None if self.is_above is None else np.where(self.is_above, self.errors, -self.errors)

    @classmethod
    def of_residuals(cls, residual: npt.NDArray[np.float64]) -> Calibration:
        """Keep how far predictions are off, and find the gross outliers among them.

        Parameters
        ----------
        residual : float64 array of shape (n,)
            Target minus prediction, in target units, of rows that the model did not learn from.

        Examples
        --------
        >>> residual = np.random.default_rng(0).normal(size=200)
        >>> residual[:20] += 50
        >>> int(Calibration.of_residuals(residual).is_outlier.sum())
        20
        """
        kept = residual[sample_rows(residual.size)]
        is_outlier = find_outliers(kept).probability > 0.5  # noqa: PLR2004 - more probable than not
        return cls(np.abs(kept), is_outlier, kept > 0)

    @classmethod
    def of_errors(cls, errors: npt.NDArray[np.float64]) -> Calibration:
        """Keep errors of which none is known to be a gross outlier's."""
        kept = errors[sample_rows(errors.size)]
        return cls(kept, np.zeros(kept.shape, np.bool_))

    def half_width(self, level: float, *, clean: bool = False, adaptive: bool = False) -> float:
        """Find half the width of intervals, as `half_width` does.

        Parameters
        ----------
        level : float, in (0, 1)
            Share of new targets that should lie inside.
        clean : bool
            Whether they should be right targets: errors of gross outliers do not count.
        adaptive : bool
            Whether to find it in spreads of a row, by which it is to be multiplied; else in target units.

        Raises
        ------
        InputError
            The level is outside (0, 1), or no spread was learned.
        """
        errors = self.relative if adaptive else self.errors
        if errors is None:
            raise missing_spread()
        return half_width(np.sort(errors[~self.is_outlier] if clean else errors), level)

    def to_bytes(self) -> bytes:
        """Write the arrays in numpy's .npz format, without pickles."""
        file = io.BytesIO()
        np.savez(file, errors=self.errors, **self.companions)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Calibration:
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return cls.with_companions(file["errors"], file)

    @property
    def companions(self) -> dict[str, Any]:
        """What is known beside the errors, as arrays to write."""
        known = {name: getattr(self, name) for name in _COMPANIONS}
        return {name: array for name, array in known.items() if array is not None}

    @classmethod
    def with_companions(
        cls, errors: npt.NDArray[np.float64], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> Calibration:
        """Read `companions` again; older models have fewer of them, and looked for no outliers."""
        known = {name: arrays[name] for name in _COMPANIONS if name in arrays}
        return cls(errors, **{"is_outlier": np.zeros(errors.shape, np.bool_), **known})


def missing_spread() -> InputError:
    """Make the error for a model that learned no spread."""
    return InputError(
        "Adaptive intervals need a model that learned the spread of its residuals; got one without; register a run, "
        f"or fit with interval_folds, of at least {FEWEST_FOR_SPREAD} rows to calibrate by."
    )


def sample_rows(count: int) -> npt.NDArray[np.int64]:
    """Choose up to `MOST_ROWS` of `count` row numbers, in order; the same ones at every call.

    Examples
    --------
    >>> sample_rows(3)
    array([0, 1, 2])
    """
    order = np.random.default_rng(0).permutation(count)[:MOST_ROWS]
    return np.sort(order)


def half_width(calibration: npt.NDArray[np.float64], level: float) -> float:
    """Find half the width of split-conformal intervals, in the unit of the residuals.

    It is the absolute residual of rank ceil((n + 1) level) among n; infinite where that rank exceeds n.

    Parameters
    ----------
    calibration : float64 array of shape (n,)
        Absolute residuals in ascending order, each of a row that the model did not learn from.
    level : float, in (0, 1)
        Share of new targets that should lie inside.

    Raises
    ------
    InputError
        The level is outside (0, 1).

    References
    ----------
    J. Lei et al., Distribution-Free Predictive Inference for Regression, 2018, algorithm 2,
    arXiv 1604.04173.

    Examples
    --------
    >>> half_width(np.array([0.1, 0.2, 0.4, 0.8]), 0.6), half_width(np.array([0.1]), 0.9)
    (0.4, inf)
    """
    if not 0 < level < 1:
        msg = f"An interval or a set needs a level in (0, 1); got {level}; pass 0.9, say."
        raise InputError(msg)
    # The model that MLflow serves has a copy of this rule, as it imports nothing of ours.
    # A rounding error in the level must not raise a whole rank by one.
    rank = max(1, math.ceil(round((calibration.size + 1) * level, 9)))
    return float(calibration[rank - 1]) if rank <= calibration.size else math.inf
