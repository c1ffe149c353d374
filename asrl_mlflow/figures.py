"""The pictures of one run, each readable at a glance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from asrl_mlflow.drawing import (
    COLOURS,
    REGION_COLOURS,
    limits,
    plain,
    plain_numbers,
    rounds_below,
    titled,
)
from asrl_mlflow.losses import PointwiseLoss
from asrl_mlflow.rounds import Round

FloatArray = npt.NDArray[np.floating]

# Thresholds further apart than this are not seen side by side on a linear axis.
_FAR_APART = 10
_BINS = 60
_DECILES = 10
_MOST_FEATURES = 15
_LONGEST_NAME = 30


def predicted_against_actual(
    actual: npt.ArrayLike, predicted: npt.ArrayLike, loss: str, title: str
) -> Figure:
    """Test rows as points: the closer to the diagonal, the better.

    Parameters
    ----------
    actual, predicted : arrays of shape (n,)
        In target units.
    loss : str
        Its name, for the colour.
    title : str
        Above the figure.
    """
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    draw_predicted_against_actual(figure.add_subplot(), actual, predicted, loss)
    titled(figure.axes[0], title)
    return figure


def draw_predicted_against_actual(
    axes: Axes, actual: npt.ArrayLike, predicted: npt.ArrayLike, loss: str
) -> None:
    """The same on axes that are there."""
    actual, predicted = np.asarray(actual), np.asarray(predicted)
    plain(axes)
    low, high = limits(np.concatenate([actual, predicted]))
    axes.plot([low, high], [low, high], color="black", linewidth=1, label="perfect")
    # Many points must not become one blot.
    opacity = float(np.clip(200 / len(actual), 0.08, 0.7))
    axes.scatter(
        actual,
        predicted,
        s=14,
        color=COLOURS[loss],
        alpha=opacity,
        linewidths=0,
        label="test row",
        rasterized=True,
    )
    axes.set(xlabel="actual target", ylabel="predicted target")
    outside = np.count_nonzero(
        (np.minimum(actual, predicted) < low) | (np.maximum(actual, predicted) > high)
    )
    if outside:
        margin = 0.03 * (high - low)
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    legend = axes.legend(
        frameon=False,
        loc="upper left",
        title=f"{outside} of {len(actual)} rows lie outside" if outside else None,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)


def thresholds_and_weights(rounds: Sequence[Round], loss: str, title: str) -> Figure | None:
    """How the loss moved while it trained; None for a loss that has nothing that could move.

    Above the thresholds, below the region weights (for losses without them the mean row weight).

    Parameters
    ----------
    rounds : sequence of Round
        Of one training.
    loss : str
        Its name, for the colour.
    title : str
        Above the figure.
    """
    if not rounds or len(rounds[0].pointwise.regions) == 1:
        return None
    fields = [
        (field.metadata["group"], field.name)
        for field in dataclasses.fields(rounds[0].pointwise)
        if "group" in field.metadata and field.name != "fallback"
    ]
    numbers = [round_.number for round_ in rounds]
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    styles = ("-", "--", ":")

    def draw(axes: Axes, names: Sequence[str]) -> None:
        for name, style in zip(names, styles, strict=False):
            values = [getattr(round_.pointwise, name) for round_ in rounds]
            axes.plot(numbers, values, style, color=COLOURS[loss], linewidth=2, label=name)

    draw(above, [name for group, name in fields if group == "threshold"])
    weights = [name for group, name in fields if group == "weight"]
    if weights:
        draw(below, weights)
        below.set(ylabel="region weight", yscale="log")
    else:
        means = [round_.mean_weight for round_ in rounds]
        below.plot(numbers, means, color=COLOURS[loss], linewidth=2, label="mean row weight")
        below.set(ylabel="mean weight of a row (1 = full)", ylim=(0, 1.05))
    above.set(ylabel="threshold (target units)")
    if all(line.get_ydata().min() > 0 for line in above.get_lines()):
        # Under contamination delta_high is a hundred times delta_low.
        above.set_yscale("log")
    titled(above, title)
    rounds_below(below)
    for axes in (above, below):
        if axes.get_yscale() == "log":
            plain_numbers(axes)
        plain(axes)
        axes.legend(frameon=False)
    return figure


def loss_shape(pointwise: PointwiseLoss, reach: float, loss: str, title: str) -> Figure:
    """What a residual costs, and what its row weighs, at one round's thresholds.

    Parameters
    ----------
    pointwise : PointwiseLoss
        Usually of the last round.
    reach : float, > 0
        The largest |r| that should be seen, in target units; thresholds are seen in any case.
    loss : str
        Its name, for the colour.
    title : str
        Above the figure.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    thresholds = _thresholds(pointwise)
    reach = max([reach, *(1.3 * limit for limit in thresholds)])
    positive = np.linspace(0, reach, 1500)
    if thresholds and thresholds[0] > 0:
        positive = np.union1d(positive, np.geomspace(thresholds[0] / 100, reach, 1500))
    # A jump is drawn as one, from just inside to just outside the threshold.
    beside = [float(np.nextafter(limit, side)) for limit in thresholds for side in (0, np.inf)]
    positive = np.union1d(positive, beside)
    r = np.concatenate([-positive[::-1], positive])
    left, right = figure.subplots(1, 2)
    for axes, values, label in (
        (left, pointwise.value(r), "loss of a row"),
        (right, pointwise.weight(r) / pointwise.row_weight, "weight of a row (1 = full)"),
    ):
        plain(axes)
        axes.plot(r, values, color=COLOURS[loss], linewidth=2)
        axes.set(xlabel="residual: target minus prediction", ylabel=label, xlim=(-reach, reach))
        _shade(axes, pointwise, reach)
    right.set(ylim=(0, 1.05 * max(1.0, float((pointwise.weight(r) / pointwise.row_weight).max()))))
    return figure


def residual_histogram(
    residuals: FloatArray, pointwise: PointwiseLoss, loss: str, title: str
) -> Figure:
    """Validation residuals, with the regions of one round's loss behind them.

    Parameters
    ----------
    residuals : array of shape (n,)
        Target minus prediction, in target units.
    pointwise, loss, title
        As for `loss_shape`.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    plain(axes)
    low, high = limits(residuals)
    reach = max(-low, high, *(1.1 * limit for limit in _thresholds(pointwise)[:1]), 1e-300)
    within = residuals[np.abs(residuals) <= reach]
    axes.hist(
        within, bins=_BINS, range=(-reach, reach), color=COLOURS[loss], label="validation rows"
    )
    axes.set(xlabel="residual: target minus prediction", ylabel="rows", xlim=(-reach, reach))
    size = np.abs(residuals)
    inner = -1.0
    shares = {}
    for name, limit in pointwise.regions.items():
        shares[name] = float(np.mean((size > inner) & (size <= limit)))
        inner = limit
    outside = residuals.size - within.size
    note = f"{outside} of {residuals.size} rows lie outside" if outside else None
    _shade(axes, pointwise, reach, shares, note)
    titled(axes, title)
    return figure


def learning_curves(rounds: Sequence[Round], best: int, loss: str, title: str) -> Figure:
    """MAE and RMSE on training and validation rows, round by round.

    Parameters
    ----------
    rounds : sequence of Round
        Of one training, at least one.
    best : int
        The last round that the booster keeps.
    loss, title : str
        As for `loss_shape`.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    numbers = [round_.number for round_ in rounds]
    for axes, metric in zip(figure.subplots(1, 2), ("mae", "rmse"), strict=True):
        plain(axes)
        for label, style, width, values in (
            ("train", ":", 1.5, [round_.train[metric] for round_ in rounds]),
            ("valid", "-", 2, [round_.valid[metric] for round_ in rounds]),
        ):
            axes.plot(numbers, values, style, color=COLOURS[loss], linewidth=width, label=label)
        if best != numbers[-1]:
            axes.axvline(best, color="black", linewidth=1, linestyle="--", label=f"kept: {best}")
        axes.set(ylabel=f"{metric.upper()} (target units)")
        axes.set_ylim(bottom=0)
        rounds_below(axes)
        axes.legend(frameon=False)
    return figure


def error_by_decile(actual: FloatArray, predicted: FloatArray, loss: str, title: str) -> Figure:
    """Where along the target the model errs: mean absolute error, and which way, by decile.

    Parameters
    ----------
    actual, predicted : arrays of shape (n,)
        Of the test rows, in target units.
    loss, title : str
        As for `loss_shape`.
    """
    edges = np.unique(np.quantile(actual, np.linspace(0, 1, _DECILES + 1)))
    places = np.clip(np.searchsorted(edges, actual, side="right") - 1, 0, max(len(edges) - 2, 0))
    present = np.unique(places)
    errors = predicted - actual
    sizes = [float(np.abs(errors[places == place]).mean()) for place in present]
    biases = [float(errors[places == place].mean()) for place in present]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    plain(axes)
    axes.bar(present, sizes, color=COLOURS[loss], label="mean absolute error")
    axes.plot(
        present,
        biases,
        "o",
        color="black",
        markersize=5,
        label="mean error (above 0: predicted too high)",
    )
    axes.axhline(0, color="black", linewidth=0.8)
    # Room for the legend above the bars.
    top, bottom = max(sizes), min([0.0, *biases])
    axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.25 * (top - bottom) or 1.0)
    ends = [(edges[place], edges[min(place + 1, len(edges) - 1)]) for place in present]
    axes.set_xticks(present, [f"{low:.3g}\nto {high:.3g}" for low, high in ends], fontsize="small")
    axes.set(xlabel="tenths of the test rows, by target", ylabel="error (target units)")
    axes.legend(frameon=False, loc="upper left", ncols=2, fontsize="small")
    titled(axes, title)
    return figure


def feature_importance(gains: Mapping[str, float], loss: str, title: str) -> Figure | None:
    """Which features the trees gained from; None where there is no split.

    Parameters
    ----------
    gains : mapping of feature to total gain
        As `Booster.get_score(importance_type="total_gain")` gives them.
    loss, title : str
        As for `loss_shape`.
    """
    total = sum(gains.values())
    if not total > 0:
        return None
    best = sorted(gains, key=lambda name: gains[name])[-_MOST_FEATURES:]
    figure = Figure(figsize=(7, 1.4 + 0.28 * len(best)), layout="constrained")
    axes = figure.add_subplot()
    plain(axes)
    axes.barh(range(len(best)), [gains[name] / total for name in best], color=COLOURS[loss])
    more = f" (best {len(best)} of {len(gains)})" if len(gains) > len(best) else ""
    axes.set_yticks(
        range(len(best)),
        [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in best],
    )
    axes.set(xlabel=f"share of the trees' total gain{more}")
    axes.xaxis.set_major_formatter("{x:.0%}")
    titled(axes, title)
    return figure


def _thresholds(pointwise: PointwiseLoss) -> list[float]:
    return [limit for limit in pointwise.regions.values() if np.isfinite(limit)]


def _shade(
    axes: Axes,
    pointwise: PointwiseLoss,
    reach: float,
    shares: Mapping[str, float] | None = None,
    note: str | None = None,
) -> None:
    """The regions behind the data, on both sides of zero, and a legend that names them."""
    inner, patches = 0.0, []
    for name, limit in pointwise.regions.items():
        outer = min(limit, reach)
        colour = REGION_COLOURS[name]
        if outer > inner:
            for sign in (-1, 1):
                axes.axvspan(sign * inner, sign * outer, color=colour, zorder=0, linewidth=0)
        share = "" if shares is None else f" {shares[name]:.0%}"
        end = f", |r| up to {limit:.3g}" if np.isfinite(limit) else ""
        patches.append(Patch(color=colour, label=f"{name}{share}{end}"))
        inner = outer
    thresholds = _thresholds(pointwise)
    if thresholds and 0 < thresholds[0] * _FAR_APART < reach:
        axes.set_xscale("symlog", linthresh=thresholds[0], linscale=1.0)
    axes.legend(
        handles=patches,
        frameon=False,
        fontsize="small",
        title=note,
        loc="upper left",
        bbox_to_anchor=(0, -0.18),
        ncols=3,
    )
