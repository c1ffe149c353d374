"""Tuning: a study and its runs say the same, whatever was killed; test rows are never looked at."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from asrl_mlflow import datasets, losses, tracking, tuning
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.splits import Blocks, folds, join
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.experiments.trials.judging import Judge, Pruned
from asrl_mlflow.residuals.statistics import distances
from asrl_mlflow.studies.storages import open_storage
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tuning import plan as plan_file
from tests.processes import spawn
from tests.stores import artifacts, runs

QUICK = ["--rounds=6", "--jobs=1", "--figures=false", "--study=s"]
STORAGES = ["journal:j", "sqlite:///s.db"]


def trials_of(storage, study="s"):
    with open_storage(storage) as found:
        return optuna.load_study(storage=found, study_name=study).get_trials()


def check_stores_agree(store, storage, expected):
    """Optuna's record and MLflow's runs tell one story, with so many judged trials."""
    trials = trials_of(storage)
    (parent,), children = runs(store)
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == expected
    assert states[TrialState.RUNNING] == 0
    assert len({trial.number for trial in trials}) == len(trials)
    judged = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len({tuple(trial.params.values()) for trial in judged}) == expected
    by_id = {run.info.run_id: run for run in children}
    for trial in judged:
        run = by_id.pop(trial.user_attrs["asrl.run_id"])
        assert run.data.tags["asrl.trial"] == str(trial.number)
        if trial.state == TrialState.COMPLETE:
            assert run.info.status == "FINISHED"
            assert run.data.metrics["objective"] == trial.value
        else:
            assert (run.info.status, run.data.tags["asrl.pruned"]) == ("KILLED", "true")
            # It never had all folds: nothing of it may be sorted among the results of those that had.
            assert not any(key.startswith("valid.") for key in run.data.metrics)
            assert "partial/valid.mae" in run.data.metrics
    for run in by_id.values():
        assert (run.info.status, run.data.tags["asrl.reaped"]) == ("KILLED", "true")
    assert parent.info.status == "FINISHED"
    return parent, trials


@pytest.mark.parametrize("storage", STORAGES)
def test_a_study_is_tracked_trial_by_trial_and_its_best_is_judged_once(flow, store, storage):
    code, out, err = flow("tune", *QUICK[:2], "--study=s", "--trials=12", f"--storage={storage}")
    assert (code, err.count("Traceback")) == (0, 0)
    parent, trials = check_stores_agree(store, storage, 12)
    assert parent.info.run_name == "tune s"
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = min(complete, key=lambda trial: trial.value)
    metrics, tags = parent.data.metrics, parent.data.tags
    assert (metrics["best.objective"], metrics["best.trial"]) == (best.value, best.number)
    loss = json.loads(tags["asrl.best"])["loss"]
    assert loss == best.user_attrs["asrl.loss"]
    # A point has a gap where the loss has a level.
    assert "q_high" not in best.params
    assert best.user_attrs["q_high"] == loss["params"]["q_high"]
    assert metrics["best.q_high"] == loss["params"]["q_high"]
    recorded = json.loads(mlflow.artifacts.load_text(f"runs:/{parent.info.run_id}/loss.json"))
    assert recorded["loss"] == loss
    assert {"booster.ubj", "figures/history.png", "figures/levels.png"} <= set(
        artifacts(store, parent.info.run_id)
    )
    assert "best: ContinuousASRL(q_low=" in out
    assert f"), trial {best.number}, " in out
    assert "test MAE\n"[:8] in out
    shown = next(line for line in out.splitlines() if line.startswith("asrl_c tuned"))
    assert float(shown.split()[2]) == pytest.approx(metrics["test.mae"], rel=1e-3)
    assert "TPE n_startup_trials=10" in parent.data.params["tune.sampler"]
    assert parent.data.params["tune.folds"] == "5"
    run = store.get_run(best.user_attrs["asrl.run_id"])
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.data.params["loss.q_high"] == str(loss["params"]["q_high"])
    shown = ", ".join(f"{name}={value:.2g}" for name, value in loss["params"].items())
    assert run.info.run_name == f"trial {best.number}: {shown}"
    assert all(run.data.params.values())
    assert all(parent.data.params.values())
    assert len(store.get_metric_history(run.info.run_id, "threshold.delta_low")) == 6
    assert not any(key.startswith("test.") for key in run.data.metrics)


def test_the_same_command_again_finishes_the_count_and_adds_nothing(flow, store):
    command = ["tune", *QUICK, "--storage=journal:j"]
    assert flow(*command, "--trials=3")[0] == 0
    first = [trial.params for trial in trials_of("journal:j")[:3]]
    for _ in range(2):
        assert flow(*command, "--trials=7")[0] == 0
        _, trials = check_stores_agree(store, "journal:j", 7)
    assert [trial.params for trial in trials[:3]] == first
    # Judged once, however often it is asked for.
    (parent,), _ = runs(store)
    judged = store.get_metric_history(parent.info.run_id, "test.mae")
    assert len({metric.value for metric in judged}) == len(judged)


def test_the_default_study_is_found_again_and_another_plan_is_another(flow, store):
    command = ["tune", *QUICK[:-1], "--trials=2"]
    said = [flow(*command, *more)[1].splitlines()[2] for more in ([], [], ["--seed=1"])]
    assert said[0] == said[1] != said[2]
    assert said[0].startswith("study asrl_c-diabetes-")
    assert said[0].endswith(f" in journal:{Path.cwd()}/asrl-studies.journal")
    parents, _ = runs(store)
    assert len(parents) == 2
    assert Path("asrl-studies.journal").exists()


REFUSED = {
    "nothing to search": (
        ["--loss=squared_error"],
        "tune: tune needs something to search; 'squared_error' has no parameters to "
        "tune; search XGBoost's (tune_booster), or choose another loss.",
    ),
    "another plan under its name": (
        ["--metric=medae"],
        "tune: Study 's' was begun with metric=mae; got medae; give another --study a name, or leave "
        "--study out.",
    ),
    "unknown loss": (["--loss=asrlc"], "tune: A loss needs one of the names asrl, asrl_c, "),
    "no storage": (["--storage=x"], "tune: A storage needs the form journal:PATH, "),
}


@pytest.mark.parametrize(("options", "line"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_line_and_exit_code_2(flow, store, options, line):
    if "--metric=medae" in options:
        assert flow("tune", *QUICK, "--trials=1")[0] == 0
    code, _, err = flow("tune", *QUICK, "--trials=1", *options)
    assert (code, err.count("Traceback")) == (2, 0)
    assert err.splitlines()[-1].startswith(line)
    assert {run.info.status for group in runs(store) for run in group} <= {"FINISHED"}


def test_out_of_time_is_one_line_and_the_same_command_goes_on(flow, store):
    command = ["tune", *QUICK, "--trials=2", "--storage=journal:j"]
    code, _, err = flow(*command, "--timeout=0.001")
    assert (code, err.count("Traceback")) == (2, 0)
    assert "tune: Study 's' has no complete trial; the same command goes on with it;" in err
    assert flow(*command)[0] == 0
    check_stores_agree(store, "journal:j", 2)


def test_ten_failures_in_a_row_end_the_study_with_their_reason(flow, store):
    pd.DataFrame({"a": np.arange(90.0), "y": np.arange(90.0) % 13 * 1e30}).to_csv(
        "huge.csv", index=False
    )
    code, _, err = flow("tune", *QUICK, "--data=huge.csv", "--storage=journal:j")
    assert code == 2
    assert err.splitlines()[-1].startswith(
        "tune: Study 's' ended as 10 trials in a row failed; the last: train needs a target whose "
    )
    trials = trials_of("journal:j")
    assert {trial.state for trial in trials} <= {TrialState.FAIL, TrialState.WAITING}
    parents, children = runs(store)
    assert [parent.info.status for parent in parents] == ["FAILED"]
    statuses = Counter(child.info.status for child in children)
    assert statuses["FAILED"] == 10
    assert set(statuses) <= {"FAILED", "KILLED"}


@pytest.fixture
def plan():
    """A quick study of the embedded table."""
    return tuning.Plan(
        loss=losses.ContinuousASRL,
        table=datasets.load(),
        metric="mae",
        seed=0,
        settings=Settings(rounds=6, figures=False),
        contamination=Contamination(),
        tune_booster=False,
    )


def tuned(plan, trials):
    """The outcome of a plan's study in the journal j."""
    tracking.connect()
    with open_storage("journal:j") as storage:
        return tuning.run_study(
            plan,
            storage,
            name="s",
            trials=trials,
            jobs=1,
            seconds=None,
            on_change=lambda _: None,
        )


def test_a_failing_trial_does_not_end_the_study(plan, store):
    class OneFails(tuning.Plan):
        def candidate(self, point):
            loss, params = super().candidate(point)
            return loss, params | ({"max_depth": -5} if loss == losses.ContinuousASRL() else {})

    outcome = tuned(OneFails(**vars(plan)), trials=4)
    assert (outcome.complete + outcome.pruned, outcome.untuned) == (4, None)
    trials = trials_of("journal:j")
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert [trial.number for trial in failed] == [0]
    assert "max_depth" in failed[0].user_attrs["asrl.error"]
    run = store.get_run(failed[0].user_attrs["asrl.run_id"])
    assert run.info.status == "FAILED"
    assert "max_depth" in run.data.tags["asrl.error"]


def test_a_killed_worker_is_replaced_and_its_trial_done_by_another(flow, store):
    def kill_one():
        while not in_work(store):
            time.sleep(0.02)
        (child,) = children_of(os.getpid())
        os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    options = ["--trials=3", "--storage=journal:j", "--rounds=200", "--early-stopping-rounds=200"]
    code, _, err = flow("tune", *QUICK, *options)
    killer.join()
    assert (code, "Traceback" in err) == (0, False)
    _, trials = check_stores_agree(store, "journal:j", 3)
    assert [trial.state for trial in trials].count(TrialState.FAIL) == 1


def test_a_point_that_takes_its_worker_along_is_failed_at_last(plan, store):
    class Deadly(tuning.Plan):
        def candidate(self, point):
            loss, params = super().candidate(point)
            if loss == losses.ContinuousASRL():
                for child in children_of(os.getpid()):
                    os.kill(child, signal.SIGKILL)
            return loss, params

    # A point that is tried again waits behind those that are queued from the beginning.
    trials = len(losses.ContinuousASRL.starts(distances(np.arange(9.0)))) + 1
    outcome = tuned(Deadly(**vars(plan)), trials=trials)
    assert (outcome.complete + outcome.pruned, outcome.untuned) == (trials, None)
    failed = [trial for trial in trials_of("journal:j") if trial.state == TrialState.FAIL]
    assert [trial.user_attrs.get("asrl.error") for trial in failed] == [
        None,
        None,
        "its worker process died 3 times",
    ]
    run = store.get_run(failed[-1].user_attrs["asrl.run_id"])
    assert run.info.status == "KILLED"


def children_of(pid):
    """The worker processes of a process."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in found}
    return [
        child for child, command in commands.items() if "asrl_mlflow.experiments.trials" in command
    ]


def in_work(store):
    """Trials whose runs are open."""
    return [run for run in runs(store)[1] if run.info.status == "RUNNING"]


def wait_until(condition, process):
    deadline = time.monotonic() + 300  # no more than a guard against a hang
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)


def test_kill_it_and_start_it_again_and_nothing_is_lost_or_done_twice(store):
    storage = "sqlite:///s.db"
    command = ["flows.tune", *QUICK, "--jobs=2", f"--storage={storage}", "--rounds=40"]
    command += ["--trials=8"]
    process = spawn(*command, stderr=subprocess.PIPE)
    wait_until(lambda: len(runs(store)[1]) > 2 and in_work(store), process)
    children = children_of(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    # Workers end when their parent is gone.
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process = spawn(*command, stderr=subprocess.PIPE)
    assert "Traceback" not in process.communicate()[1]
    assert process.returncode == 0
    _, trials = check_stores_agree(store, storage, 8)
    assert TrialState.FAIL in {trial.state for trial in trials}


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_signal_kills_the_runs_and_queues_the_trials(store):
    process = spawn(
        *("flows.tune", *QUICK, "--jobs=2", "--storage=journal:j", "--rounds=5000"),
        "--early-stopping-rounds=5000",
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: len(in_work(store)) == 2, process)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    _, err = process.communicate()
    assert time.monotonic() - started < 60  # no more than a guard against a hang
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err
    assert (
        "tune: Interrupted by SIGTERM; unfinished runs are KILLED; start the same command again to go "
        "on; "
    ) in err
    parents, children = runs(store)
    assert {run.info.status for run in parents + children} == {"KILLED"}
    trials = trials_of("journal:j")
    begun = [trial.params for trial in trials if trial.state == TrialState.FAIL]
    queued = [
        trial.system_attrs["fixed_params"] for trial in trials if trial.state == TrialState.WAITING
    ]
    assert len(begun) == 2
    assert all(params in queued for params in begun)


def test_several_commands_share_a_study(store):
    command = ["flows.tune", *QUICK, "--trials=8", "--storage=sqlite:///s.db"]
    processes = [spawn(*command, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 2, said
    check_stores_agree(store, "sqlite:///s.db", 8)


def test_what_a_kill_left_between_optuna_and_mlflow_is_set_right(flow, store):
    command = ["tune", *QUICK, "--storage=journal:j"]
    assert flow(*command, "--trials=3")[0] == 0
    parent, trials = check_stores_agree(store, "journal:j", 3)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = {**json.loads(parent.data.tags["asrl.owner"]), "pid": dead.pid}
    # As if it had been killed after telling Optuna and before ending the run,
    told = trials[0].user_attrs["asrl.run_id"]
    store.update_run(told, status="RUNNING")
    store.set_tag(told, "asrl.owner", json.dumps(owner))
    # and another before it could write into the trial that it had opened a run,
    tags = {"asrl.study": "s", "asrl.owner": json.dumps(owner)}
    child = tracking.open_child(
        "left",
        flow="tune",
        parent=RunLog(parent.info.run_id),
        tags={**tags, "asrl.trial": "99"},
    )
    # and a third before it could propose its run as the parent.
    orphan = store.create_run(parent.info.experiment_id, tags=tags)
    assert flow(*command, "--trials=3")[0] == 0
    check_stores_agree(store, "journal:j", 3)
    assert store.get_run(child.run_id).data.tags["asrl.reaped"] == "true"
    assert store.get_run(orphan.info.run_id).info.lifecycle_stage == "deleted"


def test_a_project_run_becomes_the_parent_and_a_second_one_links_to_it(flow, store, monkeypatch):
    project = {"mlflow.project.entryPoint": "tune"}
    ids = [store.create_run("0", tags=project).info.run_id for _ in range(2)]
    for run_id, trials in zip(ids, (2, 4), strict=True):
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        assert flow("tune", *QUICK, "--storage=journal:j", f"--trials={trials}")[0] == 0
    assert len(trials_of("journal:j")) >= 4
    children = [run for run in runs(store)[1] if run.data.tags["mlflow.parentRunId"] == ids[0]]
    assert len(children) >= 4
    tags = store.get_run(ids[1]).data.tags
    assert tags["asrl.study_run"] == ids[0]
    assert "asrl.reaped" not in tags
    # MLflow has made their names up, and nobody would know the study by them.
    assert {store.get_run(run_id).info.run_name for run_id in ids} == {"tune s"}
    assert tags["mlflow.runName"] == "tune s"
    # It is open still, as after a kill of `mlflow run` and all below it.
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = {**json.loads(tags["asrl.owner"]), "pid": dead.pid}
    store.set_tag(ids[1], "asrl.owner", json.dumps(owner))
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert flow("tune", *QUICK, "--storage=journal:j", "--trials=5")[0] == 0
    left = store.get_run(ids[1])
    assert (left.info.status, left.data.tags["asrl.reaped"]) == ("KILLED", "true")
    assert left.data.tags["asrl.study_run"] == ids[0]


def test_the_parent_in_another_store_is_one_line(flow, store):
    assert flow("tune", *QUICK, "--storage=journal:j", "--trials=1")[0] == 0
    (parent,), _ = runs(store)
    store.delete_run(parent.info.run_id)
    Path("mlflow.db").rename("elsewhere.db")
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/other.db")
    code, _, err = flow("tune", *QUICK, "--storage=journal:j", "--trials=1")
    assert code == 3
    assert err.splitlines()[-1].startswith(
        f"tune: The tracking store must have the run {parent.info.run_id}; got "
    )


def test_the_booster_is_searched_too_where_asked(flow, store):
    options = ["--loss=squared_error", "--tune-booster=true", "--storage=journal:j"]
    assert flow("tune", *QUICK, *options, "--trials=3")[0] == 0
    parent, trials = check_stores_agree(store, "journal:j", 3)
    assert set(trials[0].params) == set(plan_file.BOOSTER_SPACE)
    assert trials[0].params["max_depth"] == 6
    run = store.get_run(trials[1].user_attrs["asrl.run_id"])
    assert float(run.data.params["booster.lambda"]) == trials[1].params["lambda"]
    assert parent.data.metrics["best.max_depth"] >= 3


@pytest.mark.parametrize("folds_", [1, 5])
def test_the_tuner_is_given_no_test_row(plan, folds_, monkeypatch):
    monkeypatch.setattr(plan_file, "ROWS_FOR_ONE_SPLIT", 5000 if folds_ == 5 else 0)
    parts = prepare_split(plan.table, 0, plan.contamination)
    contest = plan.contest(parts)
    assert len(contest.folds) == folds_
    given = pd.concat(
        [part.features.assign(y=part.target) for pair in contest.folds for part in pair]
    ).drop_duplicates()
    test = parts.test.features.assign(y=parts.test.target)
    assert given.merge(test, how="inner").empty
    known = join(parts.train, parts.valid)
    assert len(given) == len(known)
    if folds_ == 5:
        judged = sum(len(judged) for _, judged in contest.folds)
        assert judged == len(known)


def test_of_two_moments_the_first_teaches_and_the_second_judges(plan):
    rows = dataclasses.replace(plan.table.rows, blocks=Blocks(np.arange(442) // 300, in_time=True))
    ((learned, judged),) = folds(rows, 5, seed=0)
    assert (len(learned), len(judged)) == (300, 142)


@pytest.mark.parametrize("kind", ["rows", "groups", "time"])
def test_folds_part_no_group_and_never_learn_from_the_future(plan, kind):
    rows = plan.table.rows
    codes = np.arange(len(rows)) // 7
    if kind != "rows":
        rows = dataclasses.replace(rows, blocks=Blocks(codes, in_time=kind == "time"))
    marked = dataclasses.replace(rows, target=codes.astype(float))
    pairs = folds(marked, 5, seed=3)
    assert len(pairs) == 5
    for learned, judged in pairs:
        if kind != "rows":
            assert not set(learned.target) & set(judged.target)
        if kind == "time":
            assert learned.target.max() < judged.target.min()


def test_a_verdict_is_the_mean_over_the_folds_at_the_rounds_that_are_kept(plan):
    contest = plan.contest(prepare_split(plan.table, 0, plan.contamination))
    told, asked = [], []
    loss = losses.ContinuousASRL()
    verdict = Judge(contest).judge(
        loss, {}, lambda *round_: told.append(round_), lambda *step: asked.append(step) or True
    )
    assert len(told) == 5 * 6
    ends = [metrics["valid.mae"] for number, metrics in told if number == 5]
    assert verdict.value == pytest.approx(np.mean(ends), rel=1e-12)
    assert verdict.rounds == 6
    assert [step for step, _ in asked] == list(contest.steps) == [1, 3, 6, 12, 18, 24]
    assert asked[-1][1] == pytest.approx(np.mean(ends[:4]))
    with pytest.raises(Pruned):
        Judge(contest).judge(loss, {}, lambda *_: None, lambda step, _: step < 12)
    early = dataclasses.replace(contest, rounds=300, early_stopping_rounds=5)
    shorter = Judge(early).judge(loss, {}, lambda *_: None, lambda *_: True)
    assert shorter.rounds < 300
    assert shorter.value < verdict.value


def test_the_same_command_gives_the_same_study_however_many_workers_there_are(flow, store):
    found = []
    for jobs in (1, 3):
        options = ("--study=s", "--trials=16", f"--jobs={jobs}", f"--storage=journal:j{jobs}")
        assert flow("tune", "--rounds=12", "--figures=false", *options)[0] == 0
        trials = trials_of(f"journal:j{jobs}")
        found.append(
            [(each.number, each.state, each.params, each.value) for each in trials]
            + [[each.intermediate_values for each in trials]]
        )
    assert found[0] == found[1]
    assert {state for _, state, *_ in found[0][:-1]} == {TrialState.COMPLETE, TrialState.PRUNED}
