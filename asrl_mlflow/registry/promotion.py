"""Which version an alias names: the newer one only if it is better on the same rows."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
)

from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.datasets.splits import FloatArray
from asrl_mlflow.errors import InputError
from asrl_mlflow.registry.versions import (
    RegisteredVersion,
    find,
    load,
    load_unseen_residuals,
    version_with_alias,
    write_with_retries,
)
from asrl_mlflow.system.disk import require_space

CHAMPION = "champion"
FORCED_TAG, WANTED_TAG = "asrl.forced", "asrl.wanted"
LEVEL = 0.95
_RESAMPLES, _SEED = 2_000, 0
# Resamples that are drawn at once: 2,000 of 20,000 rows would take 300 MB.
_BATCH = 50
# Promoters whose wishes are not further apart may not have seen one another.
_SECONDS_AT_ONCE = 600


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

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0

    def describe(self) -> str:
        """The comparison in words.

        Examples
        --------
        >>> Comparison(-1.25, -2.0, -0.5, 89).describe()
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


def compare_residuals(
    mine: FloatArray, theirs: FloatArray, weight: FloatArray | None = None
) -> Comparison:
    """A paired bootstrap of the (weighted) mean difference of absolute residuals.

    Parameters
    ----------
    mine, theirs : float64 array of shape (n,)
        Absolute residuals of the same rows in the same order.
    weight : float64 array of shape (n,), optional
        Of the rows. Rows are drawn one by one, also where they belong to groups, of whose likeness the
        interval knows nothing.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> theirs = rng.uniform(1, 2, 200)
    >>> compare_residuals(theirs - 0.5, theirs).is_better, compare_residuals(theirs, theirs).is_better
    (True, False)
    """
    # Here, not above: it takes half a second to import.
    from scipy.stats import bootstrap  # noqa: PLC0415 - see above

    weights = np.ones(len(mine)) if weight is None else weight
    counted = weights > 0
    difference, weights = (mine - theirs)[counted], weights[counted]

    def mean(values: FloatArray, by: FloatArray, axis: int = -1) -> FloatArray:
        total: FloatArray = (values * by).sum(axis) / by.sum(axis)
        return total

    middle = low = high = float(mean(difference, weights))
    # All rows alike: there is nothing to resample.
    if difference.min() < difference.max():
        drawn = bootstrap(
            (difference, weights),
            mean,
            paired=True,
            vectorized=True,
            n_resamples=_RESAMPLES,
            batch=_BATCH,
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(_SEED),
        )
        low, high = map(float, drawn.confidence_interval)
    return Comparison(middle, low, high, len(difference))


def check_alias(alias: str) -> None:
    """Refuse an alias that MLflow does not take.

    Raises
    ------
    InputError
        The line says why.
    """
    try:
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
    except MlflowException as error:
        msg = f"An alias needs a name that MLflow takes; got {alias!r}: {error.message}"
        raise InputError(" ".join(msg.split())) from error


@require_space()
def promote(
    version: RegisteredVersion, alias: str, *, force: bool = False, test: Dataset | None = None
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
        The alias is none, a version cannot be loaded, or the two were judged on different rows.
    StoreError
        The store does not tell who has the alias.
    StorageError
        A disk is full: this one, or the store's.

    Notes
    -----
    The alias moves in one step. Who wants it says so in a tag before it looks who has it for the last
    time, and looks afterwards who else wanted it in the last minutes: those are compared too, and the
    one with the smallest MAE gets the alias, so that promoters at once all arrive at the same.
    """
    check_alias(alias)
    client, began, wish = mlflow.MlflowClient(), time.time(), f"{WANTED_TAG}.{alias}"
    first = now = version_with_alias(version.name, alias)
    if now == version.version:
        return Promotion(promoted=True, holder=now, comparison=None)
    load(version.uri)
    if force:
        write_with_retries(
            client.set_model_version_tag, version.name, version.version, FORCED_TAG, alias
        )
        write_with_retries(client.set_registered_model_alias, version.name, alias, version.version)
        return Promotion(promoted=True, holder=first, comparison=None)
    write_with_retries(
        client.set_model_version_tag, version.name, version.version, wish, f"{time.time():.3f}"
    )
    comparison = None
    while now is not None:
        comparison = _compare_versions(version, f"models:/{version.name}/{now}", test)
        if not comparison.is_better:
            # Whoever comes next shall not take it for a rival.
            client.delete_model_version_tag(version.name, version.version, wish)
            return Promotion(promoted=False, holder=now, comparison=comparison)
        now, before = version_with_alias(version.name, alias), now
        if now == before:
            break
    write_with_retries(client.set_registered_model_alias, version.name, alias, version.version)
    best = _best_of_rivals(version, wish, began, now, test)
    if best != version.version:
        write_with_retries(client.set_registered_model_alias, version.name, alias, best)
        return Promotion(promoted=False, holder=best, comparison=comparison)
    return Promotion(promoted=True, holder=first, comparison=comparison)


def _best_of_rivals(
    version: RegisteredVersion, wish: str, began: float, beaten: str | None, test: Dataset | None
) -> str:
    """Of this version and those that wanted the same alias meanwhile, the one with the smallest MAE."""
    differences = {version.version: 0.0}
    for each in mlflow.MlflowClient().search_model_versions():
        number = str(each.version)
        wished = float(each.tags.get(wish, "-inf"))
        is_rival = number not in (version.version, beaten) and wished > began - _SECONDS_AT_ONCE
        if each.name == version.name and is_rival:
            # One that was judged on other rows is no rival, nor one whose files are spoiled.
            with suppress(InputError):
                comparison = _compare_versions(version, f"models:/{version.name}/{number}", test)
                differences[number] = -comparison.difference
    return min(differences, key=lambda number: (differences[number], int(number)))


def _compare_versions(mine: RegisteredVersion, theirs: str, test: Dataset | None) -> Comparison:
    try:
        return _compare_on_same_rows(mine, theirs, test)
    except InputError as error:
        msg = f"{error} The alias can be moved without a comparison by --force=true."
        raise InputError(msg) from error


def _compare_on_same_rows(mine: RegisteredVersion, theirs: str, test: Dataset | None) -> Comparison:
    if test is not None:
        learned = {mine.record.data["digest"], find(theirs).record.data["digest"]}
        if test.digest in learned:
            msg = f"{test.name}: needs rows that neither version has seen; got a table that one learned from."
            raise InputError(msg)
        return compare_residuals(
            _residuals(mine.uri, test), _residuals(theirs, test), test.rows.weight
        )
    ours, other = load_unseen_residuals(mine.uri), load_unseen_residuals(theirs)
    if not ours.test_rows or ours.test_rows != other.test_rows:
        msg = (
            f"{mine.uri}: a promotion compares on the same test rows, which neither has seen; got others "
            f"than those of {theirs} (another table, seed or split, or a model that goes on from another); "
            "name rows that neither has seen with --test."
        )
        raise InputError(msg)
    return compare_residuals(ours.test, other.test, ours.weight)


def _residuals(uri: str, test: Dataset) -> FloatArray:
    try:
        predicted = load(uri).predict(test.rows.features)
    except MlflowException as error:
        msg = f"{test.name}: {uri} must be able to predict it; {error.message}"
        raise InputError(msg) from error
    return np.abs(test.rows.target - np.asarray(predicted, dtype=np.float64))
