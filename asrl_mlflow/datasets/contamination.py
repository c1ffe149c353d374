"""Spoil training and validation targets on purpose, as studies of robust losses do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from asrl_mlflow.datasets.columns import standardise
from asrl_mlflow.datasets.splits import FloatArray, IntArray, Rows, Split, join
from asrl_mlflow.errors import InputError

ContaminationKind = Literal["none", "sym", "asym", "cauchy", "adversarial", "flip", "flip_next"]
# What spoils targets that are numbers, and what spoils those that are classes.
OF_NUMBERS: tuple[ContaminationKind, ...] = ("sym", "asym", "cauchy", "adversarial")
OF_CLASSES: tuple[ContaminationKind, ...] = ("flip", "flip_next")
CONTAMINATIONS: tuple[ContaminationKind, ...] = ("none", *OF_NUMBERS, *OF_CLASSES)
# Those that spoil a share of the rows; "cauchy" spoils all.
WITH_SHARE: tuple[ContaminationKind, ...] = ("sym", "asym", "adversarial", "flip", "flip_next")
# In standard deviations: what "sym" and "asym" move a target by.
_LEAST, _MOST = 3.0, 10.0


def contaminate(parts: Split, kind: ContaminationKind, share: float, seed: int) -> Split:
    """Spoil training and validation targets on purpose; test targets stay clean.

    Parameters
    ----------
    parts : Split
        Clean parts.
    kind : {"none", "sym", "asym", "cauchy", "adversarial", "flip", "flip_next"}
        Of targets that are numbers: "sym" adds plus or minus uniform(3, 10) standard deviations of the
        clean train and valid targets to `share` of the rows, "asym" only plus; "cauchy" adds 0.1
        standard deviations times a standard Cauchy draw to every row; "adversarial" adds 10 standard
        deviations to the rows where that hurts, see the notes. Of classes: "flip" gives `share`
        of the rows another class, each of the others equally likely; "flip_next" gives `share` of the
        rows of each class but the last the next class.
    share : float, in [0, 1]
        The share of rows to spoil; "none" and "cauchy" ignore it.
    seed : int
        The seed of the random draws; "adversarial" draws nothing.

    Raises
    ------
    InputError
        A kind of numbers for classes, or a kind of classes for numbers; "adversarial" without a feature
        that is a number and varies.

    Notes
    -----
    "adversarial" is a rule, not a search for the worst of all subsets. Its rows are those that lie furthest out at
    one end of the first principal axis of the standardised features that are numbers (the end whose rows are
    further out), all moved upwards by the largest step that the other kinds draw. At an edge rows have leverage:
    nothing beyond them says otherwise. Side by side they are a majority where they are, which errors that lie
    scattered are not, and against which a bounded influence alone is weak (Zhao and Wan). All in one direction, they do not
    cancel.

    References
    ----------
    P. Zhao, Z. Wan, Robust Nonparametric Regression under Poisoning Attack, arXiv 2305.16771: M-estimators
    are vulnerable where attacked rows concentrate in a small region.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load, split
    >>> parts = split(load().rows, seed=0)
    >>> spoiled = contaminate(parts, "asym", 0.2, seed=0)
    >>> int((spoiled.train.target > parts.train.target).sum())
    53
    >>> spoiled.test is parts.test
    True
    """
    if kind == "none":
        return parts
    classes = len(parts.train.classes)
    fitting = OF_CLASSES if classes else OF_NUMBERS
    if kind not in fitting:
        targets = "classes" if classes else "numbers"
        msg = (
            f"Targets that are {targets} are spoiled by {' or '.join(map(repr, fitting))}; got "
            f"{kind!r}; choose one of those."
        )
        raise InputError(msg)
    rng = np.random.default_rng(seed)
    known = join(parts.train, parts.valid)
    deviation = float(known.target.std())
    if kind == "adversarial":
        return _move_edge(parts, known, share, _MOST * deviation)

    def spoil(target: FloatArray) -> FloatArray:
        if kind == "flip":
            return _flip(target, classes, share, rng)
        if kind == "flip_next":
            return _flip_next(target, classes, share, rng)
        if kind == "cauchy":
            return target + 0.1 * deviation * rng.standard_cauchy(target.size)
        return _move(target, deviation, share, rng, both_ways=kind == "sym")

    def spoiled(part: Rows) -> Rows:
        return replace(part, target=spoil(part.target))

    return replace(parts, train=spoiled(parts.train), valid=spoiled(parts.valid))


def _some(rows: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """Draw a share of the rows, each at most once."""
    return rng.choice(rows, round(share * rows.size), replace=False)


def _move(
    target: FloatArray, deviation: float, share: float, rng: np.random.Generator, *, both_ways: bool
) -> FloatArray:
    """Add 3 to 10 deviations to a share of the targets, or subtract them from half of those."""
    moved, chosen = target.copy(), _some(np.arange(target.size), share, rng)
    size = deviation * rng.uniform(_LEAST, _MOST, chosen.size)
    moved[chosen] += size * (rng.choice([-1.0, 1.0], chosen.size) if both_ways else 1.0)
    return moved


def _move_edge(parts: Split, known: Rows, share: float, size: float) -> Split:
    """Move up the targets of the rows at an edge of the feature space: of each part this share."""
    standard = standardise(known.features)
    _, axes = np.linalg.eigh(standard.T @ standard)
    along = standard @ axes[:, -1]
    furthest = np.sort(along)
    count = max(1, round(share * len(known)))
    # An axis has no direction of its own.
    if -furthest[:count].sum() > furthest[-count:].sum():
        along = -along

    def moved(part: Rows, place: FloatArray) -> Rows:
        chosen = np.argsort(-place, kind="stable")[: round(share * len(part))]
        target = part.target.copy()
        target[chosen] += size
        return replace(part, target=target)

    train, valid = np.split(along, [len(parts.train)])
    return replace(parts, train=moved(parts.train, train), valid=moved(parts.valid, valid))


def _flip(codes: FloatArray, classes: int, share: float, rng: np.random.Generator) -> FloatArray:
    """Give a share of the rows another class."""
    flipped, chosen = codes.copy(), _some(np.arange(codes.size), share, rng)
    flipped[chosen] = (codes[chosen] + rng.integers(1, classes, chosen.size)) % classes
    return flipped


def _flip_next(
    codes: FloatArray, classes: int, share: float, rng: np.random.Generator
) -> FloatArray:
    """Give a share of the rows of each class but the last the next class."""
    flipped = codes.copy()
    for code in range(classes - 1):
        flipped[_some(np.flatnonzero(codes == code), share, rng)] += 1
    return flipped


# What happens to the training labels, as a title tells it.
_FLIPPED: Mapping[ContaminationKind, str] = {
    "flip": "flipped to any other class",
    "flip_next": "of each class but the last flipped to the next",
}


@dataclass(frozen=True)
class Contamination:
    """The way in which training and validation targets are spoiled on purpose.

    Parameters
    ----------
    kind : {"none", "sym", "asym", "cauchy", "adversarial", "flip", "flip_next"}
        As in `contaminate`.
    share : float, in [0, 1]
        Share of the rows.
    """

    kind: ContaminationKind = "none"
    share: float = 0.0

    def describe(self) -> str:
        """Describe the contamination, to add to a title; empty if there is none.

        Examples
        --------
        >>> Contamination("asym", 0.2).describe()
        '; 20% of the training targets spoiled (asym), test targets clean'
        >>> Contamination("flip", 0.4).describe()
        '; 40% of the training labels flipped to any other class, test labels clean'
        """
        if self.kind == "none":
            return ""
        share = f"{self.share:.0%} of the" if self.kind in WITH_SHARE else "all"
        if self.kind in _FLIPPED:
            return f"; {share} training labels {_FLIPPED[self.kind]}, test labels clean"
        return f"; {share} training targets spoiled ({self.kind}), test targets clean"

    def params(self) -> dict[str, object]:
        """Give the contamination as MLflow params."""
        return {"contaminate.kind": self.kind, "contaminate.share": self.share}
