"""Values of options: from the text of a command line to what it means, or click's error."""

from __future__ import annotations

import csv
import math
from typing import Any

import click

from asrl_mlflow.datasets.contamination import OF_NUMBERS, WITH_SHARE, Contamination
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import BaseLoss, from_name
from asrl_mlflow.losses.regression.scale import AUTO

# Names for several losses.
GROUPS = ("basic", "all")
# All rows, or all tables of the paper.
ALL = "all"
# Fewer cannot be split, and folded, so that every part has some.
_FEWEST_ROWS = 50


class Share(click.FloatRange):
    """Range of numbers that refuses nan, which click accepts."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """The number, or click's error."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class Jobs(click.ParamType):  # type: ignore[type-arg]  # before click 8.3 it took none
    """A number of jobs, or the name of the engine that has the workers.

    Parameters
    ----------
    engine : str
        That name.
    """

    def __init__(self, engine: str) -> None:
        self.name = f"integer or {engine}"
        self._engine = engine

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int | str:
        """The number or the engine, or click's error."""
        if value == self._engine:
            return self._engine
        number: int = click.IntRange(1).convert(value, param, ctx)
        return number


def parse_losses(
    ctx: click.Context, param: click.Parameter, value: str
) -> str | tuple[BaseLoss, ...]:
    """`basic` or `all` as they are, names between commas to losses with their default parameters."""
    if value in GROUPS:
        return value
    names = list(filter(None, map(str.strip, value.split(","))))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"each loss may stand once; got {', '.join(twice)} more than once."
        raise click.BadParameter(msg, ctx, param)
    if not names:
        msg = f"it takes basic, all, or names of losses; got {value!r}."
        raise click.BadParameter(msg, ctx, param)
    try:
        losses = tuple(map(from_name, names))
    except InputError as error:
        raise click.BadParameter(str(error), ctx, param) from error
    if len({loss.task for loss in losses}) > 1:
        by_task = {loss.task: loss.name for loss in losses}
        got = ", ".join(f"{name} (for {task})" for task, name in by_task.items())
        msg = f"losses of one comparison are for the same kind of target; got {got}."
        raise click.BadParameter(msg, ctx, param)
    return losses


def parse_params(ctx: click.Context, param: click.Parameter, value: str) -> dict[str, float | str]:
    """`q_low=0.5,q_high=0.9` to a dict; a value is a number or auto."""
    params: dict[str, float | str] = {}
    for pair in filter(None, map(str.strip, value.split(","))):
        name, sign, number = map(str.strip, pair.partition("="))
        if name in params:
            msg = f"each parameter may stand once; got {name} more than once."
            raise click.BadParameter(msg, ctx, param)
        try:
            params[name] = AUTO if number == AUTO else float(number if sign else "none")
        except ValueError as error:
            msg = f"it takes name=number or name=auto between commas; got {pair!r}."
            raise click.BadParameter(msg, ctx, param) from error
    return params


def parse_names(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Names between commas, quoted as in a CSV file where they have commas themselves."""
    try:
        (names,) = csv.reader([value], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError) as error:
        msg = f"it takes names between commas; got {value!r}."
        raise click.BadParameter(msg, ctx, param) from error
    return tuple(name.strip() for name in names if name.strip())


def parse_keys(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Paths of public keys between commas; None where no signature is required."""
    return None if value is None else parse_names(ctx, param, value)


def parse_contaminations(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[Contamination, ...] | None:
    """`none,sym:0.1,cauchy` to contaminations; None where nothing is given."""
    if value is None:
        return None
    rule = (
        f"it takes none, cauchy, and {' or '.join(kind for kind in WITH_SHARE if kind in OF_NUMBERS)} with a "
        f"share, such as sym:0.1, between commas, each once; got {value!r}."
    )
    found = []
    for text in filter(None, map(str.strip, value.split(","))):
        kind, colon, share = text.partition(":")
        takes_share = kind in WITH_SHARE
        if kind not in ("none", *OF_NUMBERS) or takes_share != bool(colon):
            raise click.BadParameter(rule, ctx, param)
        try:
            number = float(share or 0)
        except ValueError:
            number = -1.0
        if not (0 < number < 1 if takes_share else number == 0):
            raise click.BadParameter(rule, ctx, param)
        found.append(Contamination(kind, number))
    if not found or len(set(found)) < len(found):
        raise click.BadParameter(rule, ctx, param)
    return tuple(found)


def parse_rates(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Learning rates between commas to numbers; None where nothing is given."""
    if value is None:
        return None
    try:
        rates = tuple(map(float, value.split(",")))
    except ValueError:
        rates = ()
    if not rates or len(set(rates)) < len(rates) or not all(0 < each <= 1 for each in rates):
        msg = f"it takes different numbers in (0, 1] between commas; got {value!r}."
        raise click.BadParameter(msg, ctx, param)
    return rates


def parse_rows(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int | None, ...]:
    """Numbers of rows, or all, between commas; None means all."""
    texts = value.split(",")
    rows = [
        None if text == ALL else int(text) if text.isdecimal() else 0
        for text in map(str.strip, texts)
    ]
    if len(set(rows)) < len(rows) or not all(each is None or each >= _FEWEST_ROWS for each in rows):
        msg = (
            f"it takes different whole numbers of at least {_FEWEST_ROWS}, or all, between commas; got "
            f"{value!r}."
        )
        raise click.BadParameter(msg, ctx, param)
    return tuple(rows)


def parse_shares(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    """Shares between commas to numbers."""
    try:
        shares = tuple(map(float, value.split(",")))
    except ValueError:
        shares = ()
    if not shares or len(set(shares)) < len(shares) or not all(0 <= each < 1 for each in shares):
        msg = f"it takes different shares in [0, 1) between commas; got {value!r}."
        raise click.BadParameter(msg, ctx, param)
    return shares
