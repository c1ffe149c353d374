"""Say what follows from a grid, in sentences that a person can act on."""

from __future__ import annotations

import math

import numpy as np

from asrl_mlflow.comparisons.grids.methods import PLAIN
from asrl_mlflow.comparisons.grids.results import Ratio, Results, Setting
from asrl_mlflow.datasets.contamination import WITH_SHARE, ContaminationKind

# Squared error would do where it does not clearly lose more than this to the best method.
_SMALL_LOSS = 1.02


def verdict(results: Results) -> list[str]:
    """Say of every setting which loss to take, and up to which share squared error would do.

    Parameters
    ----------
    results : Results
        Of at least one setting.

    Returns
    -------
    list of str
        A sentence each.
    """
    lines = [
        _sentence(
            results.label(setting), each, "the best rival", len(results.errors[setting]), "seed"
        )
        for setting, each in results.ratios().items()
    ]
    if len(results.errors) > 1:
        which, tables = "the best rival over all of them", len(results.by_table)
        lines.append(_sentence("all settings", results.overall(), which, tables, "table"))
    return [*lines, *_where_squared_error_does(results)]


def _sentence(where: str, ratios: list[Ratio], which: str, draws: int, unit: str) -> str:
    """Say how the best loss compares with a rival, by so many seeds or tables."""
    best = min(ratios, key=lambda each: each.value)
    if best.method == best.rival:
        return f"{where}: no loss is better than {best.rival}."
    is_better = best.value < 1
    word = "better" if is_better else "worse"
    percent = f"{_percent(best.value, is_better):.0f}%"
    beside = "as good as" if percent == "0%" else f"{percent} {word} than"
    said = f"{where}: {best.method} is {beside} {best.rival}, {which}"
    if math.isnan(best.low):
        return f"{said} ({_too_few(draws, unit, best.needed)})."
    ends = sorted(_percent(each, is_better) for each in (best.low, best.high))
    interval = f"95%: {ends[0]:.0f} to {ends[1]:.0f}% {word}"
    if not best.is_clear:
        return f"{said}, which is not clear ({interval}): take either."
    return f"{said} ({interval})."


def _too_few(draws: int, unit: str, needed: int) -> str:
    return f"{draws} {unit}{'s' * (draws > 1)}; an interval takes {needed}"


def _percent(ratio: float, is_better: bool) -> float:  # noqa: FBT001 - says what is counted
    """By how many percent an error is smaller, or larger, by its ratio."""
    return 100 * (1 - ratio if is_better else ratio - 1) + 0.0  # no minus zero


def _where_squared_error_does(results: Results) -> list[str]:
    """Say up to which share of spoiled targets squared error is about as good as the best method."""
    plain = next((name for name in PLAIN if name in results.methods), None)
    if plain is None:
        return []
    lines = []
    for place in dict.fromkeys(map(results.place, results.errors)):
        here = [each for each in results.errors if results.place(each) == place]
        clean = [each for each in here if each.contamination.kind == "none"]
        for kind in WITH_SHARE:
            spoiled = [each for each in here if each.contamination.kind == kind]
            if spoiled:
                lines.append(_up_to(results, plain, [*clean, *spoiled], kind))
    return lines


def _up_to(results: Results, plain: str, settings: list[Setting], kind: ContaminationKind) -> str:
    """Say where squared error does, over the shares of one kind."""
    does: float | None = None
    where, few = results.place(settings[0]), ""
    for setting in sorted(settings, key=lambda each: each.contamination.share):
        logs = results.errors[setting].transform(np.log)
        best, share = str(logs.mean().idxmin()), setting.contamination.share
        lost = results.ratio(setting, plain, 1, best)
        is_measured = not math.isnan(lost.low)
        few = "" if is_measured else f" ({_too_few(len(logs), 'seed', lost.needed)})"
        # With too few seeds for an interval the value itself has to do.
        if (lost.high if is_measured else lost.value) > _SMALL_LOSS:
            until = "would not do" if does is None else f"would do {_with_share(does)}"
            unclear = ", which is not clear" if is_measured and lost.low <= _SMALL_LOSS else ""
            return (
                f"{where}, {kind}: {plain} {until}; {_with_share(share)} its error is {lost.value:.2f} times "
                f"that of {best}{unclear}{few}."
            )
        does = share
    return f"{where}, {kind}: {plain} would do {_with_share(does or 0.0)}, and more was not tried{few}."


def _with_share(share: float) -> str:
    return f"with {100 * share:g}% of bad labels" if share else "on the targets as they are"
