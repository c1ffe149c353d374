"""What the workers of a training are told, and what they tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asrl_mlflow.rounds import Round

# A partition: what XGBoost takes of it, by name ("data", "label", "weight").
Part = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What every worker of a training is told.

    Parameters
    ----------
    name : str
        Tells this training from all others.
    collective : mapping
        How the workers find each other: arguments of XGBoost's communicator.
    matrix : mapping
        Arguments of the matrices, the same for all.
    evals : sequence of str
        The names of the matrices to measure on.
    learns : sequence of bool
        Of which of them is the training matrix itself.
    params : mapping
        XGBoost's parameters.
    options : mapping
        The other arguments of `asrl_mlflow.train`.
    is_heard : bool
        Whether somebody listens to the rounds.
    checkpoint_every : int, optional
        After how many rounds the booster is sent.
    """

    name: str
    collective: Mapping[str, Any]
    matrix: Mapping[str, Any]
    evals: Sequence[str]
    learns: Sequence[bool]
    params: Mapping[str, Any]
    options: Mapping[str, Any]
    is_heard: bool
    checkpoint_every: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What the reporting worker returns.

    Parameters
    ----------
    booster : bytes
        The model, in XGBoost's format UBJSON.
    rounds : sequence of Round
        All of them.
    history : mapping
        The metrics of each round, by entry of `evals`.
    """

    booster: bytes
    rounds: Sequence[Round] = ()
    history: Mapping[str, Any] = field(default_factory=dict)
