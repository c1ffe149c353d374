"""The report: bars with one colour a loss, a table that a person can read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from asrl_mlflow import losses
from asrl_mlflow.experiments import report
from asrl_mlflow.figures.style import colour_of, png


def scores(names, seeds=1, task="regression"):
    rng = np.random.default_rng(0)
    metrics = [metric for metric, _ in report.SUMMARIES[task].columns]
    return {name: {metric: list(rng.random(seeds)) for metric in metrics} for name in names}


def test_every_loss_has_a_colour_of_its_own():
    assert len({colour_of(name) for name in losses.LOSSES}) == len(losses.LOSSES)


@pytest.mark.parametrize("seeds", [1, 3])
def test_metric_bars_stand_for_the_means_with_the_best_on_top(seeds):
    values = scores(["asrl", "asrl_c", "huber", "my_loss"], seeds)
    figure = report.draw_metric_bars(values, "title")
    order = report.rank_losses(values)
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == order[::-1]
    assert [bar.get_width() for bar in first.patches] == pytest.approx(
        [np.mean(values[name]["mae"]) for name in order[::-1]]
    )
    dots = [each for each in first.collections if isinstance(each, PathCollection)]
    assert [len(each.get_offsets()) for each in dots] == ([] if seeds == 1 else [3] * 4)
    assert all(axes.get_title() and axes.get_xlabel() for axes in figure.axes)


def test_the_line_of_a_bar_is_the_standard_error_of_the_mean():
    values = scores(["asrl"], seeds=4)
    first = report.draw_metric_bars(values, "title").axes[0]
    (line,) = (each for each in first.collections if isinstance(each, LineCollection))
    (low, _), (high, _) = line.get_segments()[0]
    error = np.std(values["asrl"]["mae"], ddof=1) / 2
    assert high - low == pytest.approx(2 * error)


def test_a_tuned_loss_has_a_bar_of_another_colour_and_the_figure_says_so():
    values = scores(["asrl_c", "asrl_c tuned"])
    figure = report.draw_metric_bars(values, "title")
    bars = [to_hex(bar.get_facecolor()).upper() for bar in figure.axes[0].patches]
    assert bars == [colour_of(name) for name in report.rank_losses(values)[::-1]]
    assert len(set(bars)) == 2
    assert figure.subfigs[0].get_suptitle() == "title; dark: tuned"


def test_a_figure_becomes_a_png():
    figure = report.draw_metric_bars(scores(["asrl"]), "title")
    assert png(figure).startswith(b"\x89PNG")


def test_the_table_is_sorted_aligned_and_has_a_spread_over_seeds():
    lines = report.summary_table(scores(["asrl", "absolute_error"], seeds=3)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].count("±") == 5, "every metric, but not the seconds"
    columns = report.summary_columns(scores(["asrl", "absolute_error"], seeds=3))
    assert columns["test MAE"] == sorted(columns["test MAE"])
    assert "test MAE sd" in columns


def test_the_table_is_narrower_than_100_characters_with_seeds_and_with_tuned_names():
    rng = np.random.default_rng(0)
    metrics = ("mae", "medae", "rmse", "r2", "recall", "seconds")
    for names, seeds, unit in (
        (losses.LOSSES, 3, 1.0),
        (losses.LOSSES, 3, 50.0),
        ([f"{name} tuned" for name in losses.LOSSES], 1, 50.0),
    ):
        units = {metric: unit if metric in metrics[:3] else 1.0 for metric in metrics}
        found = {
            name: {metric: list(units[metric] * rng.random(seeds)) for metric in metrics}
            for name in names
        }
        assert len(report.summary_table(found).splitlines()[0]) < 100
    for summary in report.SUMMARIES.values():
        assert all(len(line) < 100 for line in summary.note.splitlines())


@pytest.mark.parametrize("suffix", ["", " tuned"])
def test_the_table_of_losses_for_classes_is_narrower_than_100_characters(suffix):
    names = [f"{name}{suffix}" for name in losses.CLASSIFICATION_LOSSES]
    found = scores(names, task="classification")
    lines = report.summary_table(found, "classification").splitlines()
    assert len(lines[0]) < 100
    assert len({len(line) for line in lines}) == 1
    ranked = report.rank_losses(found, "classification")
    assert [line.split()[0] for line in lines[1:]] == [name.split()[0] for name in ranked]


def test_every_column_is_explained_or_known_before_the_table():
    summary = report.SUMMARIES["regression"]
    headings = [heading.removeprefix("test ") for _, heading in summary.columns]
    assert headings == ["MAE", "MedAE", "RMSE", "R2", "recall", "seconds"]
    assert "MedAE:" in summary.note
    assert "recall:" in summary.note
    summary = report.SUMMARIES["classification"]
    headings = [heading.removeprefix("test ") for _, heading in summary.columns]
    assert headings == ["log loss", "error", "bal. acc.", "AUC", "Brier", "ECE", "seconds"]
    for explained in ("error:", "bal. acc.:", "Brier:", "ECE,"):
        assert explained in summary.note
