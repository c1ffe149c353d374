"""Move an alias to another version only if that version is better on the same rows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import mlflow
import numpy as np

from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.datasets.splits import FloatArray
from asrl_mlflow.errors import InputError, listed
from asrl_mlflow.registry.opened import load, load_unseen_residuals, open_version
from asrl_mlflow.registry.signing import Keys
from asrl_mlflow.registry.versions import (
    RegisteredVersion,
    find,
    version_with_alias,
    write_with_retries,
)
from asrl_mlflow.system.disk import require_space

CHAMPION = "champion"
FORCED_TAG, WANTED_TAG = "asrl.forced", "asrl.wanted"
LEVEL = 0.95
_RESAMPLES, _SEED = 2_000, 0
# Resamples drawn at once; all 2,000 together would take 300 MB for 20,000 rows.
_BATCH = 50
# Two promotions that began within so many seconds may not have seen each other.
_SECONDS_AT_ONCE = 600


@dataclass(frozen=True)
class Comparison:
    """The difference of two versions' mean errors on the same rows.

    Parameters
    ----------
    difference : float
        Mean error of the new version minus that of the version that has the alias: of absolute residuals
        in target units, or log loss; below 0 the new version is better.
    low, high : float
        The 95% confidence interval of the difference.
    rows : int
        The number of rows compared on.
    title : str
        What the mean error is called.
    """

    difference: float
    low: float
    high: float
    rows: int
    title: str = "MAE"

    @property
    def is_better(self) -> bool:
        """Whether the new version is better: the whole interval is below 0."""
        return self.high < 0

    @property
    def is_worse(self) -> bool:
        """Whether the new version is worse: the whole interval is above 0."""
        return self.low > 0

    def describe(self) -> str:
        """Describe the comparison in words.

        Examples
        --------
        >>> Comparison(-1.25, -2.0, -0.5, 89).describe()
        'MAE -1.25 [-2, -0.5] on the same 89 rows'
        """
        return f"{self.title} {self.difference:+.4g} [{self.low:.4g}, {self.high:.4g}] on the same {self.rows} rows"


@dataclass(frozen=True)
class Promotion:
    """The outcome of a request for an alias.

    Parameters
    ----------
    promoted : bool
        Whether the version has the alias now.
    holder : str, optional
        The number of the version that had the alias before, or has kept it; None if no version had it.
    comparison : Comparison, optional
        The comparison with that version; None if there was none to make.
    """

    promoted: bool
    holder: str | None
    comparison: Comparison | None


def compare_residuals(
    mine: FloatArray, theirs: FloatArray, weight: FloatArray | None = None, title: str = "MAE"
) -> Comparison:
    """Compare two versions by a paired bootstrap of the (weighted) mean difference of errors.

    Parameters
    ----------
    mine, theirs : float64 array of shape (n,)
        Errors of the new version and of the other one, on the same rows in the same order.
    weight : float64 array of shape (n,), optional
        Sample weights of these rows.
    title : str
        What the mean error is called.

    Notes
    -----
    Rows are drawn independently, even if they belong to groups. Where the rows of a group resemble each
    other, the interval is too narrow.

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
    # If all differences are equal, there is nothing to resample.
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
    return Comparison(middle, low, high, len(difference), title)


def check_alias(alias: str) -> None:
    """Refuse an alias that MLflow does not accept.

    Raises
    ------
    InputError
        The alias has other characters than letters, digits, _ and -, or MLflow reserves it.
    """
    reserved = re.fullmatch(r"latest|v\d+", alias, flags=re.IGNORECASE)
    if reserved or not re.fullmatch(r"[\w-]+", alias):
        msg = (
            f"An alias needs a name that MLflow takes; got {alias!r}; choose one of letters, digits, _ "
            "and -, but not latest, and not v and a number."
        )
        raise InputError(msg)


@require_space()
def promote(
    version: RegisteredVersion,
    alias: str,
    *,
    force: bool = False,
    test: Dataset | None = None,
    trusted: Keys | None = None,
) -> Promotion:
    """Give a version an alias if it is better than the version that has it, or if none has it.

    Parameters
    ----------
    version : RegisteredVersion
        The new version.
    alias : str
        The alias.
    force : bool
        Move the alias without a comparison, and tag the version `asrl.forced`.
    test : Dataset, optional
        Rows that neither version has learned from, to compare on. By default versions are compared on
        the test rows of their runs, which must be the same rows.
    trusted : sequence of str or Path, optional
        Public keys, as for `load`: both versions must be signed, so that no code of an unsigned one is run.

    Raises
    ------
    InputError
        MLflow refuses the alias, a version cannot be loaded, or there are no common rows to compare on.
    StoreError
        The store does not answer.
    StorageError
        This machine's disk or the store's disk is full.

    Notes
    -----
    The alias moves in one step. Each process first tags its version as wanting the alias, then compares
    it with the version that has the alias, moves the alias, and last looks for versions that other
    processes tagged in the last ten minutes. The alias goes to the one with the smallest mean error. So
    several processes at once all end with the same version.
    """
    check_alias(alias)
    client, began, wanted = mlflow.MlflowClient(), time.time(), f"{WANTED_TAG}.{alias}"
    first = version_with_alias(version.name, alias)
    if first == version.version:
        return Promotion(promoted=True, holder=first, comparison=None)
    load(version.uri, trusted=trusted)
    if force:
        write_with_retries(
            client.set_model_version_tag, version.name, version.version, FORCED_TAG, alias
        )
        write_with_retries(client.set_registered_model_alias, version.name, alias, version.version)
        return Promotion(promoted=True, holder=first, comparison=None)
    write_with_retries(
        client.set_model_version_tag, version.name, version.version, wanted, f"{time.time():.3f}"
    )
    compare = partial(_compare_versions, version, test=test, trusted=trusted)
    holder, comparison = _compare_with_holder(version, alias, first, compare)
    if comparison is not None and not comparison.is_better:
        # The next process must not take this version for a rival.
        client.delete_model_version_tag(version.name, version.version, wanted)
        return Promotion(promoted=False, holder=holder, comparison=comparison)
    write_with_retries(client.set_registered_model_alias, version.name, alias, version.version)
    best = _best_of_rivals(version, wanted, began, holder, compare)
    if best != version.version:
        write_with_retries(client.set_registered_model_alias, version.name, alias, best)
        return Promotion(promoted=False, holder=best, comparison=comparison)
    return Promotion(promoted=True, holder=first, comparison=comparison)


def _compare_with_holder(
    version: RegisteredVersion,
    alias: str,
    holder: str | None,
    compare: Callable[[str], Comparison],
) -> tuple[str | None, Comparison | None]:
    """Compare with the version that has the alias; again if another has it by the end."""
    comparison = None
    while holder is not None:
        comparison = compare(f"models:/{version.name}/{holder}")
        if not comparison.is_better:
            break
        now = version_with_alias(version.name, alias)
        if now == holder:
            break
        holder = now
    return holder, comparison


def _best_of_rivals(
    version: RegisteredVersion,
    wanted: str,
    began: float,
    beaten: str | None,
    compare: Callable[[str], Comparison],
) -> str:
    """Find the smallest mean error among this version and those that other processes tagged meanwhile."""
    differences = {version.version: 0.0}
    for each in mlflow.MlflowClient().search_model_versions():
        number = str(each.version)
        tagged = float(each.tags.get(wanted, "-inf"))
        is_rival = number not in (version.version, beaten) and tagged > began - _SECONDS_AT_ONCE
        if each.name == version.name and is_rival:
            # A version tested on other rows cannot be compared, nor one whose files have changed.
            with suppress(InputError):
                differences[number] = -compare(f"models:/{version.name}/{number}").difference
    return min(differences, key=lambda number: (differences[number], int(number)))


def _compare_versions(
    mine: RegisteredVersion, theirs: str, test: Dataset | None, trusted: Keys | None
) -> Comparison:
    """Compare two versions; if that is impossible, say how to move the alias without it."""
    try:
        return _compare_on_same_rows(mine, theirs, test, trusted)
    except InputError as error:
        msg = f"{error} The alias can be moved without a comparison by --force=true."
        raise InputError(msg) from error


def _compare_on_same_rows(
    mine: RegisteredVersion, theirs: str, test: Dataset | None, trusted: Keys | None
) -> Comparison:
    """Compare two versions on given rows, or on the test rows that their runs have in common."""
    title = mine.record.task.default_title
    if test is not None:
        records = mine.record, find(theirs, trusted=trusted).record
        learned = {each.data.get("digest") for each in records}
        if test.digest in learned:
            msg = f"{test.name}: needs rows that neither version has seen; got a table that one learned from; name another."
            raise InputError(msg)
        return compare_residuals(
            _residuals(mine.uri, test, trusted),
            _residuals(theirs, test, trusted),
            test.rows.weight,
            title,
        )
    ours, other = (load_unseen_residuals(uri, trusted=trusted) for uri in (mine.uri, theirs))
    if not ours.test_rows or ours.test_rows != other.test_rows:
        msg = (
            f"{mine.uri}: a promotion compares on the same test rows, which neither has seen; got other "
            f"rows than {theirs} has (another table, seed or split, or a model that continues another one); "
            "name rows that neither has seen with --test."
        )
        raise InputError(msg)
    return compare_residuals(ours.test, other.test, ours.weight, title)


def _residuals(uri: str, test: Dataset, trusted: Keys | None) -> FloatArray:
    """Predict the rows with a version, and compute the errors that its loss measures by."""
    with open_version(uri, trusted=trusted) as opened:
        version = opened.version
        predicted = opened.predict_rows(test.rows.features, test.name)
    known = version.record.data.get("classes", [])
    if known != list(test.classes):
        msg = (
            f"{test.name}: needs the kind of target that {uri} knows, {listed(known) or 'numbers'}; got "
            f"{listed(test.classes) or 'numbers'}; name rows with each of its classes."
        )
        raise InputError(msg)
    return version.record.build_loss().row_errors(test.rows.target, predicted)
