"""The losses, by name, and their configs.

Adding a loss is three edits: its class in a file here, its line in `LOSSES`, its line in the list
that the tests' laws run over.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.absolute_error import AbsoluteError
from asrl_mlflow.losses.asrl import ASRL
from asrl_mlflow.losses.continuous_asrl import ContinuousASRL
from asrl_mlflow.losses.huber import AdaptiveHuber, Huber
from asrl_mlflow.losses.loss import Loss, Statistics
from asrl_mlflow.losses.pointwise import PointwiseLoss
from asrl_mlflow.losses.squared_error import SquaredError

LOSSES: Mapping[str, type[Loss]] = {
    "asrl": ASRL,
    "asrl_c": ContinuousASRL,
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "adaptive_huber": AdaptiveHuber,
}

__all__ = [
    "ASRL",
    "LOSSES",
    "AbsoluteError",
    "AdaptiveHuber",
    "ContinuousASRL",
    "Huber",
    "Loss",
    "PointwiseLoss",
    "SquaredError",
    "Statistics",
    "class_named",
    "from_config",
    "to_config",
]


def to_config(loss: Loss) -> dict[str, Any]:
    """The loss as plain JSON types.

    Examples
    --------
    >>> to_config(Huber(delta=2.0))
    {'name': 'huber', 'params': {'delta': 2.0}}
    """
    params = {key: float(value) for key, value in dataclasses.asdict(loss).items()}
    return {"name": loss.name, "params": params}


def from_config(config: Mapping[str, Any]) -> Loss:
    """The loss that `to_config` described; parameters left out keep their defaults.

    Raises
    ------
    InputError
        Unknown name or parameter, or a parameter outside its interval.

    Examples
    --------
    >>> from_config({"name": "asrl_c", "params": {"q_low": 0.7}})
    ContinuousASRL(q_low=0.7, q_high=0.9, tail=1.0, floor=0.0)
    """
    form = '{"name": ..., "params": {...}}'
    if not isinstance(config, Mapping) or not set(config) <= {"name", "params"}:
        msg = f"A loss's config has the form {form}; got {config!r}."
        raise InputError(msg)
    name, params = str(config.get("name")), config.get("params", {})
    if not isinstance(params, Mapping):
        msg = f"A loss's config has the form {form}; got params={params!r}."
        raise InputError(msg)
    loss = class_named(name)
    known = [field.name for field in dataclasses.fields(loss)]
    for key in params:
        if key not in known:
            takes = ", ".join(known) or "no parameters"
            msg = f"{loss.__name__} takes {takes}; got {key!r}"
            raise InputError(msg + _nearest(key, known))
    return loss(**params)


def class_named(name: str) -> type[Loss]:
    """The class of a loss.

    Raises
    ------
    InputError
        No loss has this name.

    Examples
    --------
    >>> class_named("asrl").__name__
    'ASRL'
    """
    if name not in LOSSES:
        msg = f"A loss needs one of the names {', '.join(LOSSES)}; got {name!r}"
        raise InputError(msg + _nearest(name, LOSSES))
    return LOSSES[name]


def _nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
