"""Spoil training and validation targets on purpose, as studies of robust losses do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from asrl_mlflow.datasets.splits import Rows, Split

ContaminationKind = Literal["none", "sym", "asym", "cauchy"]
CONTAMINATIONS: tuple[ContaminationKind, ...] = ("none", "sym", "asym", "cauchy")


def contaminate(parts: Split, kind: ContaminationKind, share: float, seed: int) -> Split:
    """Spoil training and validation targets on purpose; test targets stay clean.

    Parameters
    ----------
    parts : Split
        Clean parts.
    kind : {"none", "sym", "asym", "cauchy"}
        "sym" adds plus or minus uniform(3, 10) standard deviations of the clean train and valid
        targets to `share` of the rows, "asym" only plus; "cauchy" adds 0.1 standard deviations
        times a standard Cauchy draw to every row.
    share : float, in [0, 1]
        The share of rows to spoil; "none" and "cauchy" ignore it.
    seed : int
        The seed of the random draws.

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
    rng = np.random.default_rng(seed)
    deviation = float(np.concatenate([parts.train.target, parts.valid.target]).std())

    def spoiled(part: Rows) -> Rows:
        target = part.target.copy()
        if kind == "cauchy":
            target += 0.1 * deviation * rng.standard_cauchy(len(part))
        else:
            chosen = rng.choice(len(part), round(share * len(part)), replace=False)
            size = deviation * rng.uniform(3, 10, chosen.size)
            signs = rng.choice([-1.0, 1.0], chosen.size) if kind == "sym" else 1.0
            target[chosen] += signs * size
        return replace(part, target=target)

    return replace(parts, train=spoiled(parts.train), valid=spoiled(parts.valid))


@dataclass(frozen=True)
class Contamination:
    """The way in which training and validation targets are spoiled on purpose.

    Parameters
    ----------
    kind : {"none", "sym", "asym", "cauchy"}
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
        """
        if self.kind == "none":
            return ""
        share = f"{self.share:.0%} of the" if self.share else "all"
        return f"; {share} training targets spoiled ({self.kind}), test targets clean"

    def params(self) -> dict[str, object]:
        """Give the contamination as MLflow params."""
        return {"contaminate.kind": self.kind, "contaminate.share": self.share}
