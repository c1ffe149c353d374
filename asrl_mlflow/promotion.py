"""Which version an alias names: the newer one only if it is better on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException

from asrl_mlflow.datasets import Dataset
from asrl_mlflow.errors import InputError
from asrl_mlflow.registry import Registered, found, load, unseen
from asrl_mlflow.splits import FloatArray

CHAMPION = "champion"
FORCED_TAG = "asrl.forced"
LEVEL = 0.95
_RESAMPLES, _SEED = 2_000, 0
# Resamples that are drawn at once: 2,000 of 20,000 rows would take 300 MB.
_BATCH = 50


@dataclass(frozen=True)
class Comparison:
    """How much smaller one version's MAE is than another's, on the same rows.

    Parameters
    ----------
    difference : float
        The challenger's MAE minus the holder's, in target units: below 0 it is better.
    low, high : float
        The interval of the difference, at level 0.95.
    rows : int
        So many rows.
    """

    difference: float
    low: float
    high: float
    rows: int

    @property
    def is_better(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high < 0

    def told(self) -> str:
        """The comparison in words.

        Examples
        --------
        >>> Comparison(-1.25, -2.0, -0.5, 89).told()
        'MAE -1.25 [-2, -0.5] on the same 89 rows'
        """
        return f"MAE {self.difference:+.4g} [{self.low:.4g}, {self.high:.4g}] on the same {self.rows} rows"


@dataclass(frozen=True)
class Promotion:
    """What became of a request for an alias.

    Parameters
    ----------
    promoted : bool
        Whether the version has the alias now.
    holder : str, optional
        The version that had it before.
    comparison : Comparison, optional
        With that one; None where there was none, or it was not asked.
    """

    promoted: bool
    holder: str | None
    comparison: Comparison | None


def compare(mine: FloatArray, theirs: FloatArray) -> Comparison:
    """A paired bootstrap of the mean difference of absolute residuals.

    Parameters
    ----------
    mine, theirs : float64 array of shape (n,)
        Absolute residuals of the same rows in the same order.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> theirs = rng.uniform(1, 2, 200)
    >>> compare(theirs - 0.5, theirs).is_better, compare(theirs, theirs).is_better
    (True, False)
    """
    # Here, not above: it takes half a second to import.
    from scipy.stats import bootstrap  # noqa: PLC0415 - see above

    difference = mine - theirs
    low = high = float(difference.mean())
    # All rows alike: there is nothing to resample.
    if difference.min() < difference.max():
        found_ = bootstrap(
            (difference,),
            np.mean,
            n_resamples=_RESAMPLES,
            batch=_BATCH,
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(_SEED),
        )
        low, high = map(float, found_.confidence_interval)
    return Comparison(float(difference.mean()), low, high, len(difference))


def promote(
    version: Registered, alias: str, *, force: bool = False, test: Dataset | None = None
) -> Promotion:
    """Give a version an alias if it is better than the version that has it, or none has.

    Parameters
    ----------
    version : Registered
        The challenger.
    alias : str
        The alias.
    force : bool
        Give it anyway, and tag the version `asrl.forced`.
    test : Dataset, optional
        Rows that neither version has seen, to compare them on. Without, they are compared on the
        test rows of their runs, which must be the same.

    Raises
    ------
    InputError
        The version cannot be loaded, or the two were judged on different rows.

    Notes
    -----
    The alias is moved in one step, and only to a version that was loaded and has predicted. Who
    moved it looks again: where another process was faster, the two are compared, so that the
    better one has it in the end.
    """
    client = mlflow.MlflowClient()
    _try_out(version)
    first = holder = _holder(version.name, alias)
    comparison = None
    while holder != version.version:
        if holder is not None:
            try:
                comparison = _compared(version, f"models:/{version.name}/{holder}", test)
            except InputError:
                if not force:
                    raise
            if not force and (comparison is None or not comparison.is_better):
                return Promotion(promoted=False, holder=holder, comparison=comparison)
        if force:
            client.set_model_version_tag(version.name, version.version, FORCED_TAG, alias)
        client.set_registered_model_alias(version.name, alias, version.version)
        holder = _holder(version.name, alias)
        if force:
            break
    return Promotion(promoted=True, holder=first, comparison=comparison)


def _holder(name: str, alias: str) -> str | None:
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)
    except MlflowException:
        return None


def _try_out(version: Registered) -> None:
    model = load(version.uri)
    model.predict(model.input_example)


def _compared(mine: Registered, theirs: str, test: Dataset | None) -> Comparison:
    if test is not None:
        return compare(_residuals(mine.uri, test), _residuals(theirs, test))
    ours, other = unseen(mine.uri), unseen(theirs)
    if ours.test_rows != other.test_rows:
        msg = (
            f"{mine.uri}: a promotion compares on the same test rows; got others than those of {theirs} "
            f"(data {mine.record.data['name']!r} and {found(theirs).record.data['name']!r}, or another "
            "seed or split); name rows that neither has seen with --test, or pass --force=true."
        )
        raise InputError(msg)
    return compare(ours.test, other.test)


def _residuals(uri: str, test: Dataset) -> FloatArray:
    predicted = load(uri).predict(test.rows.features)
    return np.abs(test.rows.target - np.asarray(predicted, dtype=np.float64))
