"""Figures of a study: no trial is hidden, and pruned ones are not taken for complete ones."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from asrl_mlflow.figures.style import png
from asrl_mlflow.studies.showing import LOSS
from asrl_mlflow.tuning import figures


def trials(values, state=TrialState.COMPLETE, first=0):
    made = []
    for number, value in enumerate(values, start=first):
        levels = {"q_low": 0.02 * number + 0.1, "q_high": 0.02 * number + 0.3}
        trial = create_trial(
            state=state, value=value, user_attrs={LOSS: {"name": "asrl_c", "params": levels}}
        )
        trial.number = number
        made.append(trial)
    return made


def points(axes):
    """What stands in the legend for each group of points, and how many points it has."""
    return {each.get_label(): each.get_offsets() for each in axes.collections}


def test_pruned_trials_are_named_as_such_and_never_the_best():
    complete = trials([5.0, 4.0, 4.5, 3.0])
    pruned = trials([1.0, 6.0], TrialState.PRUNED, first=4)
    figure = figures.draw_history([*pruned, *complete], "mae", "asrl_c", "title")
    (axes,) = figure.axes
    groups = points(axes)
    label = "pruned: judged by a part of the rounds or folds, not comparable (2)"
    assert len(groups["complete (4)"]) == 4
    assert len(groups[label]) == 2
    best = next(
        line for line in axes.get_lines() if line.get_label() == "best complete trial so far"
    )
    assert list(best.get_ydata()) == [5.0, 4.0, 4.0, 3.0]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_a_trial_far_above_the_others_is_marked_at_the_edge_and_in_the_legend(state):
    near = trials(np.linspace(3.0, 4.0, 12))
    figure = figures.draw_history([*near, *trials([900.0], state, 12)], "mae", "huber", "title")
    (axes,) = figure.axes
    top = axes.get_ylim()[1]
    assert top < 10
    assert points(axes)["above the axis (1, to 900)"].tolist() == [[12.0, top]]
    texts = [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]
    assert "above the axis (1, to 900)" in texts


def test_every_complete_trial_is_a_point_at_its_levels_and_the_best_has_a_ring():
    given = trials([5.0, 3.0, 4.0, 50.0])
    figure = figures.draw_levels(given, "mae", "title")
    axes = figure.axes[0]
    every, ring = axes.collections[:2]
    expected = {(0.1, 0.3, 5.0), (0.12, 0.32, 3.0), (0.14, 0.34, 4.0), (0.16, 0.36, 50.0)}
    drawn = zip(*every.get_offsets().T, every.get_array(), strict=True)
    assert {tuple(map(float, np.round(point, 9))) for point in drawn} == expected
    np.testing.assert_allclose(ring.get_offsets(), [[0.12, 0.32]])
    assert png(figure)


def test_losses_without_levels_and_studies_without_shares_have_no_figure_of_them():
    trial = create_trial(value=1.0, user_attrs={LOSS: {"name": "huber", "params": {"delta": 1.0}}})
    assert figures.draw_levels([trial], "mae", "title") is None
    assert figures.draw_levels([], "mae", "title") is None
    assert figures.draw_importance({}, "huber", "title") is None
    assert png(figures.draw_importance({"delta": 1.0}, "my_loss", "title"))


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0, 3.0]])
def test_a_study_of_equal_values_is_drawn(values):
    given = trials(values)
    assert png(figures.draw_history(given, "mae", "asrl", "title"))
    assert png(figures.draw_levels(given, "mae", "title"))
