"""Spoil training and validation targets on purpose, as studies of robust losses do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from asrl_mlflow.datasets.splits import FloatArray, IntArray, Rows, Split
from asrl_mlflow.errors import InputError

ContaminationKind = Literal["none", "sym", "asym", "cauchy", "flip", "flip_next"]
# What spoils targets that are numbers, and what spoils those that are classes.
OF_NUMBERS: tuple[ContaminationKind, ...] = ("sym", "asym", "cauchy")
OF_CLASSES: tuple[ContaminationKind, ...] = ("flip", "flip_next")
CONTAMINATIONS: tuple[ContaminationKind, ...] = ("none", *OF_NUMBERS, *OF_CLASSES)
# Those that spoil a share of the rows; "cauchy" spoils all.
WITH_SHARE: tuple[ContaminationKind, ...] = ("sym", "asym", "flip", "flip_next")


def contaminate(parts: Split, kind: ContaminationKind, share: float, seed: int) -> Split:
    """Spoil training and validation targets on purpose; test targets stay clean.

    Parameters
    ----------
    parts : Split
        Clean parts.
    kind : {"none", "sym", "asym", "cauchy", "flip", "flip_next"}
        Of targets that are numbers: "sym" adds plus or minus uniform(3, 10) standard deviations of the
        clean train and valid targets to `share` of the rows, "asym" only plus; "cauchy" adds 0.1
        standard deviations times a standard Cauchy draw to every row. Of classes: "flip" gives `share`
        of the rows another class, each of the others equally likely; "flip_next" gives `share` of the
        rows of each class but the last the next class.
    share : float, in [0, 1]
        The share of rows to spoil; "none" and "cauchy" ignore it.
    seed : int
        The seed of the random draws.

    Raises
    ------
    InputError
        A kind of numbers for classes, or a kind of classes for numbers.

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
    deviation = float(np.concatenate([parts.train.target, parts.valid.target]).std())

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
    size = deviation * rng.uniform(3, 10, chosen.size)
    moved[chosen] += size * (rng.choice([-1.0, 1.0], chosen.size) if both_ways else 1.0)
    return moved


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
    kind : {"none", "sym", "asym", "cauchy", "flip", "flip_next"}
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
