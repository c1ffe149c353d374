"""Draw a run's model: what it predicts, where it errs, how it learned, which features it uses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from asrl_mlflow.figures.style import (
    CONTEXT_GREY,
    colour_of,
    find_limits,
    label_rounds,
    open_figure,
    style_axes,
)
from asrl_mlflow.rounds import Round

_DECILES = 10
_MOST_POINTS = 10_000
_MOST_FEATURES, _LONGEST_NAME = 15, 30
# Levels of intervals that are checked: 1% to 99%.
_LEVELS = np.arange(1, 100) / 100
_NAMED_LEVELS = (0.5, 0.8, 0.9, 0.95)
# The share of test rows that a calibrated model would have inside, in 95 of 100 splits.
_BAND = (0.025, 0.975)


def draw_predicted_against_actual(
    actual: npt.ArrayLike, predicted: npt.ArrayLike, loss: str, context: str
) -> Figure:
    """Draw test rows as points: the closer to the diagonal, the better.

    Parameters
    ----------
    actual, predicted : arrays of shape (n,)
        In target units.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.
    """
    figure, body = open_figure((6, 6), "Predicted against actual target, test rows", context)
    scatter_predicted_against_actual(body.add_subplot(), actual, predicted, loss)
    return figure


def scatter_predicted_against_actual(
    axes: Axes, actual: npt.ArrayLike, predicted: npt.ArrayLike, loss: str
) -> None:
    """Draw test rows as points on axes that exist.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    actual, predicted, loss
        As in `draw_predicted_against_actual`.
    """
    actual, predicted = np.asarray(actual), np.asarray(predicted)
    style_axes(axes)
    low, high = find_limits(np.concatenate([actual, predicted]))
    axes.plot([low, high], [low, high], color="black", linewidth=1, label="perfect")
    # Many points must not become one blot, nor take longer to draw than the training took.
    step = -(-len(actual) // _MOST_POINTS)
    shown = len(actual[::step])
    opacity = float(np.clip(200 / shown, 0.08, 0.7))
    axes.scatter(
        actual[::step],
        predicted[::step],
        s=14,
        color=colour_of(loss),
        alpha=opacity,
        linewidths=0,
        label="test row" if step == 1 else f"test row ({shown} of {len(actual)} drawn)",
    )
    axes.set(xlabel="actual (target units)", ylabel="predicted (target units)")
    outside = np.count_nonzero(
        (np.minimum(actual, predicted) < low) | (np.maximum(actual, predicted) > high)
    )
    margin = 0.03 * (high - low) or 1.0
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    legend = axes.legend(
        frameon=False,
        loc="upper left",
        title=f"{outside} of {len(actual)} rows lie outside" if outside else None,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)


def draw_learning_curves(
    rounds: Sequence[Round],
    best: int,
    loss: str,
    context: str,
    metrics: Mapping[str, str] = MappingProxyType(
        {"mae": "MAE (target units)", "rmse": "RMSE (target units)"}
    ),
) -> Figure:
    """Draw two metrics on training and validation rows, round by round.

    Parameters
    ----------
    rounds : sequence of Round
        Of one training, at least one.
    best : int
        The last round that the booster keeps.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.
    metrics : mapping of str to str
        The two metrics that every round reports, with what they are called.
    """
    figure, body = open_figure(
        (9, 4.4), "Error on training and validation rows, round by round", context
    )
    numbers = [round_.number for round_ in rounds]
    for axes, (metric, title) in zip(body.subplots(1, 2), metrics.items(), strict=True):
        style_axes(axes)
        axes.plot(
            numbers,
            [round_.train[metric] for round_ in rounds],
            color=CONTEXT_GREY,
            linewidth=1.5,
            label="training rows",
        )
        axes.plot(
            numbers,
            [round_.valid[metric] for round_ in rounds],
            color=colour_of(loss),
            linewidth=2,
            label="validation rows",
        )
        if best != numbers[-1]:
            axes.axvline(
                best, color="black", linewidth=1, linestyle="--", label=f"kept up to round {best}"
            )
        axes.set(ylabel=title)
        if axes.get_ylim()[0] < axes.get_ylim()[1] / 2:
            axes.set_ylim(bottom=0)
        label_rounds(axes)
        axes.legend(frameon=False)
    return figure


def draw_error_by_decile(
    actual: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating], loss: str, context: str
) -> Figure:
    """Draw where along the target the model errs: mean absolute error, and mean error, by decile.

    Parameters
    ----------
    actual, predicted : arrays of shape (n,)
        Of the test rows, in target units.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.
    """
    edges = np.unique(np.quantile(actual, np.linspace(0, 1, _DECILES + 1)))
    places = np.clip(np.searchsorted(edges, actual, side="right") - 1, 0, max(len(edges) - 2, 0))
    present = np.unique(places)
    errors = predicted - actual
    sizes = [float(np.abs(errors[places == place]).mean()) for place in present]
    biases = [float(errors[places == place].mean()) for place in present]
    figure, body = open_figure((8, 4.6), "Error on test rows, by size of the target", context)
    axes = body.add_subplot()
    style_axes(axes)
    axes.margins(x=0.02)
    axes.bar(present, sizes, color=colour_of(loss), label="mean absolute error")
    axes.plot(
        present,
        biases,
        "o",
        color="black",
        markeredgecolor="white",
        markersize=6,
        label="mean error (above 0: predicted too high)",
    )
    axes.axhline(0, color="black", linewidth=0.8)
    # Room for the legend above the bars.
    top, bottom = max(sizes), min([0.0, *biases])
    axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.2 * (top - bottom) or 1.0)
    ends = [(actual[places == place].min(), actual[places == place].max()) for place in present]
    axes.set_xticks(
        present,
        [f"{low:.3g} to {high:.3g}" for low, high in ends],
        fontsize="small",
        rotation=30,
        ha="right",
        rotation_mode="anchor",
    )
    tenths = "tenths of the test rows" if len(present) == _DECILES else "groups of test rows"
    axes.set(xlabel=f"{tenths}, by actual target (target units)", ylabel="error (target units)")
    axes.legend(frameon=False, loc="upper left", ncols=2, fontsize="small")
    return figure


def draw_feature_importance(gains: Mapping[str, float], loss: str, context: str) -> Figure | None:
    """Draw which features the trees gained from.

    Parameters
    ----------
    gains : mapping of feature to total gain
        As `Booster.get_score(importance_type="total_gain")` gives them.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.

    Returns
    -------
    Figure or None
        None where no tree has a split.
    """
    total = sum(gains.values())
    if not total > 0:
        return None
    shares = {name: gain / total for name, gain in gains.items()}
    title, unit = "Features that the trees gained from", "share of the trees' total gain"
    figure = _draw_features(shares, loss, title, unit, context)
    figure.axes[0].xaxis.set_major_formatter("{x:.0%}")
    return figure


def draw_contributions(
    sizes: Mapping[str, float], loss: str, unit: str, context: str
) -> Figure | None:
    """Draw how much each feature adds to predictions.

    Parameters
    ----------
    sizes : mapping of feature to float
        Mean size of its contributions to the predictions of some rows (SHAP values).
    loss : str
        Name of the loss, for the colour.
    unit : str
        Of the sizes.
    context : str
        Which rows they are of; stands above the figure.

    Returns
    -------
    Figure or None
        None where no feature adds anything.
    """
    if not any(sizes.values()):
        return None
    title = "What features add to predictions (SHAP values)"
    return _draw_features(sizes, loss, title, f"mean size of what it adds, {unit}", context)


def _draw_features(
    sizes: Mapping[str, float], loss: str, title: str, unit: str, context: str
) -> Figure:
    """Draw a bar for each feature, the largest on top."""
    best = sorted(sizes, key=lambda name: sizes[name])[-_MOST_FEATURES:]
    figure, body = open_figure((8, 1.7 + 0.28 * len(best)), title, context)
    axes = body.add_subplot()
    style_axes(axes)
    axes.barh(range(len(best)), [sizes[name] for name in best], color=colour_of(loss))
    axes.grid(visible=False, axis="y")
    more = f" (the best {len(best)} of {len(sizes)} features)" if len(sizes) > len(best) else ""
    axes.set_yticks(
        range(len(best)),
        [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in best],
    )
    axes.set(xlabel=f"{unit}{more}")
    return figure


def draw_interval_calibration(
    calibration: npt.NDArray[np.floating],
    test: npt.NDArray[np.floating],
    loss: str,
    context: str,
    things: str = "intervals",
) -> Figure | None:
    """Draw how many test rows lie inside intervals of each level: calibrated models are on the diagonal.

    Parameters
    ----------
    calibration : array of shape (n,)
        Errors of rows that the booster did not learn from, by which intervals are made: absolute
        residuals, or for sets of classes minus the logarithm of the class's probability.
    test : array of shape (m,)
        Errors of test rows.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.
    things : {"intervals", "sets"}
        What is calibrated.

    Returns
    -------
    Figure or None
        None without rows to calibrate by, or without test rows.

    Notes
    -----
    An interval of a level is as wide as the model that is served makes it: it reaches as far as the
    calibration residual of rank k = ceil((n + 1) level). Were calibration and test rows exchangeable,
    the number of test rows inside would follow the beta-binomial distribution with m draws and
    parameters k and n + 1 - k, which counts the chance in both samples. The band holds its central 95%
    at each level; over all levels together some of the line may leave it by chance.
    """
    if not (calibration.size and test.size):
        return None
    count = len(calibration)
    # The level's own rounding must not push a rank that is whole one up.
    ranks = np.array([math.ceil(round((count + 1) * level, 9)) for level in _LEVELS])
    levels, ranks = _LEVELS[ranks <= count], ranks[ranks <= count]
    half_widths = np.sort(calibration)[ranks - 1]
    inside = np.searchsorted(np.sort(test), half_widths, side="right") / len(test)
    low, high = (
        stats.betabinom.ppf(share, len(test), ranks, count + 1 - ranks) / len(test)
        for share in _BAND
    )
    figure, body = open_figure((6, 6), f"Do prediction {things} hold on test rows?", context)
    axes = body.add_subplot()
    style_axes(axes)
    axes.fill_between(
        levels,
        low,
        high,
        color="#D9D9D9",
        linewidth=0,
        label=f"chance alone, 95% at each level\n({count} rows to calibrate by, {len(test)} test rows)",
    )
    axes.plot(
        [0, 1], [0, 1], color="black", linewidth=1, label="calibrated (above: wider than needed)"
    )
    axes.plot(levels, inside, color=colour_of(loss), linewidth=2.2, label="test rows inside")
    named = [at for at, level in enumerate(levels) if round(float(level), 2) in _NAMED_LEVELS]
    axes.plot(
        levels[named],
        inside[named],
        "o",
        color=colour_of(loss),
        markeredgecolor="white",
        markersize=7,
        clip_on=False,
        zorder=4,
    )
    lines = [f"{levels[at]:>5.0%} {inside[at]:>8.1%}" for at in named]
    axes.text(
        0.97,
        0.04,
        "\n".join(["level   inside", *lines]),
        transform=axes.transAxes,
        ha="right",
        fontfamily="monospace",
        fontsize="small",
    )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel=f"level of the {things}",
        ylabel="share of test rows inside",
    )
    axes.set_aspect("equal")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(frameon=False, loc="upper left", fontsize="small")
    return figure
