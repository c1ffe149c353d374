"""The losses, by name, and their configs.

Adding a loss is three edits: its class in a file here, its line in `LOSSES`, its line in the list
that the tests' laws run over.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

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

    Raises
    ------
    InputError
        A loss of one's own that could not be told from others by its config: its class has no name
        of its own, or is no frozen dataclass, or has a parameter that is not a number.

    Examples
    --------
    >>> to_config(Huber(delta=2.0))
    {'name': 'huber', 'params': {'delta': 2.0}}
    """
    kind = type(loss)
    if not isinstance(vars(kind).get("name"), str):
        msg = (
            f"{kind.__name__} needs a name of its own, by which models record it; got none in its "
            f'class; add name: ClassVar[str] = "{kind.__name__.lower()}".'
        )
        raise InputError(msg)
    if LOSSES.get(loss.name, kind) is not kind:
        msg = (
            f"{kind.__name__} needs a name of its own, by which models record it; got {loss.name!r}, "
            f"which is {LOSSES[loss.name].__name__}'s; choose another."
        )
        raise InputError(msg)
    if _makes_itself(kind):
        msg = (
            f"{kind.__name__} must be a frozen dataclass, whose fields are its parameters; got an "
            "__init__ of its own; put @dataclass(frozen=True) above the class and declare fields."
        )
        raise InputError(msg)
    values = {field.name: getattr(loss, field.name) for field in dataclasses.fields(loss)}
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            msg = (
                f"{kind.__name__} takes numbers, which configs and tuning can hold; got "
                f"{key}={value!r}; make it a number, or a loss of its own."
            )
            raise InputError(msg)
    return {"name": loss.name, "params": {key: float(value) for key, value in values.items()}}


def _makes_itself(kind: type[Loss]) -> bool:
    """Whether a class has parameters that are no fields of a frozen dataclass."""
    made = next(each for each in kind.__mro__ if "__init__" in vars(each))
    params = vars(made).get("__dataclass_params__")
    return params is None or not params.frozen


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
