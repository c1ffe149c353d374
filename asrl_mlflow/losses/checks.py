"""Check the parameters of losses: each is a number in its interval, or refused in one line."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.loss import BaseLoss


def check_level(loss: BaseLoss, name: str, remedy: str) -> None:
    """Raise InputError unless the parameter is a quantile level in the open interval (0, 1)."""
    level = getattr(loss, name)
    if not (is_real(level) and 0 < level < 1):
        msg = f"{type(loss).__name__} needs 0 < {name} < 1; got {name}={shorten(level)}; try {remedy}."
        raise InputError(msg)


def check_levels(loss: BaseLoss) -> None:
    """Raise InputError unless the parameters are levels, 0 < q_low < q_high < 1."""
    check_level(loss, "q_low", "0.5")
    check_level(loss, "q_high", "0.9")
    q_low, q_high = (getattr(loss, name) for name in ("q_low", "q_high"))
    if not q_low < q_high:
        msg = (
            f"{type(loss).__name__} needs 0 < q_low < q_high < 1; got q_low={q_low}, "
            f"q_high={q_high}; swap them or widen the gap."
        )
        raise InputError(msg)


def check_positive(loss: BaseLoss, name: str, remedy: str) -> None:
    """Raise InputError unless the parameter is a number in [1e-100, 1e100].

    The bounds keep products with float32 thresholds inside float64.
    """
    number = getattr(loss, name)
    if not is_positive(number):
        msg = (
            f"{type(loss).__name__} needs 1e-100 <= {name} <= 1e100; got {name}={shorten(number)}; "
            f"try {remedy}."
        )
        raise InputError(msg)


def check_share(loss: BaseLoss, name: str, remedy: str) -> None:
    """Raise InputError unless the parameter is a number in [0, 1]."""
    share = getattr(loss, name)
    if not (is_real(share) and 0 <= share <= 1):
        msg = (
            f"{type(loss).__name__} needs 0 <= {name} <= 1; got {name}={shorten(share)}; try "
            f"{remedy}."
        )
        raise InputError(msg)


def check_between(
    loss: BaseLoss, name: str, low: float, high: float, remedy: str, *, is_open: bool = False
) -> None:
    """Raise InputError unless the parameter is a number in an interval, with both ends unless it is open."""
    number = getattr(loss, name)
    if not (is_real(number) and low <= number <= high) or (is_open and number in (low, high)):
        sign = "<" if is_open else "<="
        msg = (
            f"{type(loss).__name__} needs {low:g} {sign} {name} {sign} {high:g}; got "
            f"{name}={shorten(number)}; try {remedy}."
        )
        raise InputError(msg)


def is_positive(number: object) -> bool:
    """Check whether a parameter is a number in [1e-100, 1e100]."""
    return is_real(number) and 1e-100 <= number <= 1e100  # noqa: PLR2004 - as documented


def is_real(number: object) -> TypeGuard[float]:
    """Check whether a parameter is a real number, of Python or of numpy."""
    return isinstance(number, int | float | np.integer | np.floating) and not isinstance(
        number, bool
    )


def shorten(number: object) -> str:
    """Describe a parameter of any type in at most 40 characters."""
    return repr(number.item() if isinstance(number, np.generic) else number)[:40]
