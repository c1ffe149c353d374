"""Losses under wrong labels: tuned alike on wrong ones, judged on right ones, told without favour."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest

from asrl_mlflow.comparisons.label_noise import SHOWN, Cell, Comparison, Results, judge, judge_all
from asrl_mlflow.comparisons.label_noise.figures import (
    draw_calibration,
    draw_noise,
    draw_reliabilities,
)
from asrl_mlflow.comparisons.label_noise.results import CORRECTED, PLAIN
from asrl_mlflow.datasets import load, split
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.losses import FullM, GeneralizedCrossEntropy, LogLoss, MLoss, SoftmaxCrossEntropy
from asrl_mlflow.metrics import error, logloss
from tests.processes import spawn
from tests.stores import artifacts, runs

QUICK = ("--data=wine", "--trials=1", "--rounds=4", "--shares=0,0.2", "--repeats=1", "--jobs=1")


def comparison(trials=1, rounds=5, name="wine"):
    return Comparison(load(name), "flip", trials, rounds)


def results(**errors):
    """Of losses whose metrics are all these, one a seed, at 0% and at 20%."""
    return Results(
        {
            (loss, share, state, metric): values
            for loss, values in errors.items()
            for share in (0.0, 0.2)
            for state in (PLAIN, CORRECTED)
            for metric in SHOWN
        }
    )


def test_test_labels_are_right_and_the_same_for_every_loss_and_share():
    judged = [
        judge(comparison(), Cell(loss, share, seed=3))
        for loss in (MLoss(), LogLoss())
        for share in (0.0, 0.4)
    ]
    right = split(load("wine").rows, seed=3).test.target
    for each in judged:
        np.testing.assert_array_equal(each.target, right)


def test_labels_to_choose_by_are_as_wrong_as_those_to_learn_from():
    clean = prepare_split(load("wine"), 0, comparison().contamination(0.0))
    wrong = prepare_split(load("wine"), 0, comparison().contamination(0.3))
    for part in ("train", "valid"):
        flipped = getattr(wrong, part).target != getattr(clean, part).target
        assert flipped.mean() == pytest.approx(0.3, abs=0.02)


def test_every_loss_has_as_many_trials_and_its_own_parameters_are_among_what_they_search():
    judged = judge(comparison(trials=4), Cell(GeneralizedCrossEntropy(), 0.2, 0))
    assert set(judged.booster) == {"learning_rate", "max_depth"}
    more = judge(comparison(trials=8), Cell(GeneralizedCrossEntropy(), 0.2, 0))
    assert more.chosen_by <= judged.chosen_by
    assert judge(comparison(trials=4), Cell(GeneralizedCrossEntropy(), 0.2, 0)).loss == judged.loss


def test_metrics_are_those_of_the_probabilities_before_and_after_correction():
    judged = judge(comparison(), Cell(FullM(), 0.2, 0))
    assert judged.metrics()["logloss"] == logloss(judged.target, judged.corrected)
    assert judged.metrics(corrected=False)["logloss"] == logloss(judged.target, judged.plain)
    assert judged.metrics()["error"] == error(judged.target, judged.corrected)
    assert not np.allclose(judged.plain, judged.corrected)
    proper = judge(comparison(), Cell(SoftmaxCrossEntropy(), 0.2, 0))
    np.testing.assert_allclose(proper.plain, proper.corrected)


def test_processes_give_what_one_process_gives():
    cells = [Cell(loss, 0.2, 0) for loss in (MLoss(), SoftmaxCrossEntropy())]
    alone, together = (
        {each.cell: each for each in judge_all(comparison(), cells, jobs)} for jobs in (1, 2)
    )
    assert set(together) == set(cells)
    for cell in cells:
        np.testing.assert_array_equal(alone[cell].corrected, together[cell].corrected)


def test_the_verdict_names_what_is_better_or_worse_beyond_chance_and_nothing_else():
    text = results(
        log_loss=(0.2, 0.21, 0.19),
        focal=(0.1, 0.11, 0.09),
        full_m=(0.3, 0.31, 0.29),
        poly1=(0.1, 0.4, 0.15),
    ).verdict()
    assert text.startswith(
        "So: over 20% flipped labels and 3 seeds, with test error focal (-0.1) is"
    )
    assert text.count("full_m (+0.1) is clearly worse") == 2
    assert "poly1" not in text
    one = results(log_loss=(0.2,), focal=(0.1,)).verdict()
    assert one.count("no loss is clearly better than log_loss (0.2)") == 2


def test_the_table_has_a_block_a_share_in_it_the_smallest_log_loss_first():
    made = results(full_m=(0.3, 0.5), log_loss=(0.2, 0.2))
    lines = made.table().splitlines()
    assert [line.split()[0] for line in lines if line[:1].strip()] == [
        *("0%", "log_loss", "full_m"),
        *("20%", "log_loss", "full_m"),
    ]
    assert "0.400±0.141" in lines[3]
    columns = made.columns()
    assert {len(column) for column in columns.values()} == {4}
    assert columns["log loss, corrected"] == [0.4, 0.2, 0.4, 0.2]


def test_figures_have_a_curve_a_loss_and_calibration_before_beside_after():
    made = results(full_m=(0.3, 0.5), log_loss=(0.2, 0.2))
    for draw in (draw_noise, draw_calibration):
        panels = draw(made, "title").axes
        assert len(panels) == 2
        for axes in panels:
            assert {text.get_text().split()[0] for text in axes.texts} == {"full_m", "log_loss"}
    judged = [judge(comparison(), Cell(FullM(), share, 0)) for share in (0.0, 0.3)]
    (figure,) = draw_reliabilities(judged, "title").values()
    assert len(figure.axes[0].get_legend().get_texts()) == 3


def test_the_flow_has_a_run_a_cell_and_says_what_comes_out(flow, store):
    code, out, err = flow("label_noise", *QUICK, "--losses=log_loss,full_m")
    assert (code, err.count("Traceback")) == (0, 0)
    assert "So: over 20% flipped labels and 1 seed, with test error no loss" in out
    assert out.splitlines()[-1].startswith("See every run: ")
    (parent,), children = runs(store)
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert {run.info.run_name for run in children} == {
        f"{loss}, {share} flipped, seed 0"
        for loss in ("log_loss", "full_m")
        for share in ("0%", "20%")
    }
    kept = artifacts(store, parent.info.run_id)
    assert {"label_noise.json", "label_noise.txt"} <= set(kept)
    for name in ("label_noise", "calibration", "reliability_full_m", "reliability_log_loss"):
        assert f"figures/{name}.png" in kept
    for run in children:
        assert {"loss.name", "booster.max_depth", "contaminate.share", "seed", "split.rows"} <= set(
            run.data.params
        )
        assert {"test.logloss", "test.plain.calibration_error", "fit_seconds"} <= set(
            run.data.metrics
        )
        assert artifacts(store, run.info.run_id) == ["loss.json"]
    wrong = next(run for run in children if run.info.run_name == "full_m, 20% flipped, seed 0")
    block = out[out.index("20% flipped ") :]
    shown = re.search(r"^full_m +(\S+)", block, flags=re.MULTILINE)[1]
    assert float(shown) == pytest.approx(wrong.data.metrics["test.logloss"], abs=6e-4)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--losses=huber", "takes losses for classes; got huber"),
        ("--losses=log_loss,squared_hinge", "SquaredHinge is for two classes; got 3"),
        ("--shares=0,1.5", "it takes different shares in [0, 1) between commas; got '0,1.5'"),
        ("--shares=0.1,0.1", "it takes different shares"),
        ("--kind=asym", "'asym' is not one of 'flip', 'flip_next'"),
        ("--data=diabetes", "diabetes"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(flow, store, option, said):
    code, _, err = flow("label_noise", *QUICK, option)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert said in err
    assert runs(store) == ([], [])


def test_a_worker_that_dies_is_told_in_one_line():
    cells = [Cell(MLoss(), 0.2, seed) for seed in range(2)]
    with pytest.raises(InputError, match="needs worker processes that live"):
        list(judge_all(Comparison(Deadly(), "flip", 1, 1), cells, 2))


class Deadly:
    """Stands where a table would; kills the process that uses it."""

    @property
    def rows(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_interrupt_of_a_terminal_leaves_killed_runs_one_line_and_no_process(store):
    options = ("--data=digits", "--rounds=3000", "--jobs=2", "--figures=false")
    process = spawn("flows.label_noise", *options, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 90
    while not runs(store)[0] and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(3)
    # As Ctrl-C does: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "label_noise: Interrupted by SIGINT; unfinished runs are KILLED; " in err
    (parent,), _ = runs(store)
    assert parent.info.status == "KILLED"
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
