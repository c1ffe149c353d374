"""Draw what a comparison came to: errors against the share of wrong labels, and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asrl_mlflow.comparisons.label_noise.cells import Judged
from asrl_mlflow.comparisons.label_noise.results import CORRECTED, PLAIN, Results
from asrl_mlflow.figures.class_figures import draw_reliability
from asrl_mlflow.figures.style import colour_of, label_lines, open_figure, style_axes

# Curves that would hide one another are moved apart by so much of a step between shares.
_APART = 0.05


def draw_noise(results: Results, context: str) -> Figure:
    """Draw test error and log loss against the share of flipped labels, a curve a loss.

    Parameters
    ----------
    results : Results
        Of at least one share.
    context : str
        Which table and seeds it is about.
    """
    figure, body = open_figure(
        (12, 5.4),
        "Wrong labels to learn from, right labels to be judged by",
        _with_errors(results, context),
    )
    for axes, metric, title in zip(
        body.subplots(1, 2),
        ("error", "logloss"),
        ("test error (share of rows)", "test log loss"),
        strict=True,
    ):
        _draw_curves(axes, results, metric)
        axes.set(ylabel=title)
    return figure


def draw_calibration(results: Results, context: str) -> Figure:
    """Draw the calibration error against the share of flipped labels, before and after correction.

    Parameters
    ----------
    results : Results
        Of at least one share.
    context : str
        Which table and seeds it is about.
    """
    figure, body = open_figure(
        (12, 5.4),
        "How far probabilities are from the truth, before and after the loss's correction",
        _with_errors(results, context),
    )
    panels = body.subplots(1, 2, sharey=True)
    titles = {PLAIN: "sigmoid or softmax of the margins, as it is", CORRECTED: "corrected"}
    for axes, (state, title) in zip(panels, titles.items(), strict=True):
        _draw_curves(axes, results, "calibration_error", state)
        axes.set_title(title, fontsize="medium")
        axes.set(ylabel="expected calibration error")
    return figure


def draw_reliabilities(judged: Sequence[Judged], context: str) -> Mapping[str, Figure]:
    """Draw the reliability of each loss at the largest share, the test rows of all seeds together.

    Parameters
    ----------
    judged : sequence of Judged
        All cells.
    context : str
        Which table and seeds it is about.

    Returns
    -------
    mapping of loss name to Figure
    """
    largest = max(each.cell.share for each in judged)
    found: dict[str, list[Judged]] = {}
    for each in judged:
        if each.cell.share == largest:
            found.setdefault(each.cell.loss.name, []).append(each)
    return {
        name: draw_reliability(
            np.concatenate([one.target for one in each]),
            np.concatenate([one.plain for one in each]),
            np.concatenate([one.corrected for one in each]),
            name,
            f"{name}, {largest:.0%} of the labels flipped; {context}",
        )
        for name, each in found.items()
    }


def _with_errors(results: Results, context: str) -> str:
    seeds = len(next(iter(results.values.values())))
    return f"{context}; lines: standard error over the seeds" if seeds > 1 else context


def _draw_curves(axes: Axes, results: Results, metric: str, state: str = CORRECTED) -> None:
    """Draw a metric against the share, one curve a loss with the standard error over seeds."""
    style_axes(axes)
    shares = np.array(results.shares)
    step = float(np.diff(shares).min()) if shares.size > 1 else 1.0
    ends = []
    for place, loss in enumerate(results.losses):
        values = np.array([results.of_metric(loss, share, metric, state) for share in shares])
        middle, seeds = values.mean(axis=1), values.shape[1]
        spread = values.std(axis=1, ddof=1) / np.sqrt(seeds) if seeds > 1 else None
        moved = shares + (place - (len(results.losses) - 1) / 2) * _APART * step
        axes.errorbar(
            moved, middle, spread, color=colour_of(loss), linewidth=1.8, marker="o", ms=4, capsize=2
        )
        ends.append((float(moved[-1]), float(middle[-1])))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set(xlabel="share of labels flipped", ylim=(0, None))
    axes.set_xticks(shares)
    labels = [
        f"{loss} {height:.3f}" for loss, (_, height) in zip(results.losses, ends, strict=True)
    ]
    label_lines(axes, ends, labels, [colour_of(loss) for loss in results.losses])
