"""Pictures of a run's model: what it predicts, where it errs, how it learned, what it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asrl_mlflow.figures.style import COLOURS, limits, plain, rounds_below, titled
from asrl_mlflow.rounds import Round

_DECILES = 10
_MOST_POINTS = 10_000
_MOST_FEATURES, _LONGEST_NAME = 15, 30


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
    # Many points must not become one blot, nor take longer to draw than the training took.
    step = -(-len(actual) // _MOST_POINTS)
    shown = len(actual[::step])
    opacity = float(np.clip(200 / shown, 0.08, 0.7))
    axes.scatter(
        actual[::step],
        predicted[::step],
        s=14,
        color=COLOURS[loss],
        alpha=opacity,
        linewidths=0,
        label="test row" if step == 1 else f"test row ({shown} of {len(actual)} drawn)",
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


def learning_curves(rounds: Sequence[Round], best: int, loss: str, title: str) -> Figure:
    """MAE and RMSE on training and validation rows, round by round.

    Parameters
    ----------
    rounds : sequence of Round
        Of one training, at least one.
    best : int
        The last round that the booster keeps.
    loss, title : str
        As for `predicted_against_actual`.
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
        if axes.get_ylim()[0] < axes.get_ylim()[1] / 2:
            axes.set_ylim(bottom=0)
        rounds_below(axes)
        axes.legend(frameon=False)
    return figure


def error_by_decile(
    actual: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating], loss: str, title: str
) -> Figure:
    """Where along the target the model errs: mean absolute error, and which way, by decile.

    Parameters
    ----------
    actual, predicted : arrays of shape (n,)
        Of the test rows, in target units.
    loss, title : str
        As for `predicted_against_actual`.
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
    ends = [(actual[places == place].min(), actual[places == place].max()) for place in present]
    axes.set_xticks(
        present,
        [f"{low:.3g} to {high:.3g}" for low, high in ends],
        fontsize="small",
        rotation=30,
        ha="right",
    )
    axes.set(xlabel="test rows in tenths (fewer, where targets are equal), by target")
    axes.set(ylabel="error (target units)")
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
        As for `predicted_against_actual`.
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
