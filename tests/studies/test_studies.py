"""Studies: who may try what, and what happens to the trials of those who are gone."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from asrl_mlflow import losses
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.scale import ScaledLoss
from asrl_mlflow.losses.search_space import LEVELS, Interval, levels_at, point_of
from asrl_mlflow.residuals.statistics import Residuals
from asrl_mlflow.studies import leases as leases_file
from asrl_mlflow.studies.sampler import UNDER_WAY
from asrl_mlflow.studies.showing import LOSS
from asrl_mlflow.studies.storages import open_storage
from asrl_mlflow.studies.study import ROUNDS, Study
from asrl_mlflow.system import processes
from asrl_mlflow.system.processes import Owner, Watch

SPACE = {"x": Interval(0, 1), "k": Interval(1, 9, whole=True)}
STARTS = [{"x": 0.25, "k": 3}, {"x": 0.5, "k": 5}]


@pytest.fixture(params=["journal:j", "sqlite:///s.db"])
def join(request, tmp_path, monkeypatch):
    """Let one more process, as it were, join the study; each has a storage object of its own."""
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        yield lambda: Study("s", stack.enter_context(open_storage(request.param)), SPACE, seed=0)


def finish(study, trial, value=1.0):
    study.leases.write(trial, {LOSS: losses.to_config(losses.Huber()), ROUNDS: 7})
    return study.complete(trial, value)


def states(study):
    return [trial.state.name for trial in study.trials()]


def test_the_points_to_start_with_come_first_and_once_whoever_queues_them(join):
    one, other = join(), join()
    assert one.set_up("a", STARTS) == "a"
    assert other.set_up("b", STARTS) == "a"
    tried = [study.claim(10).params for study in (one, other)]
    assert tried == STARTS


def test_all_agree_on_the_parent_that_was_proposed_first(join):
    studies_ = [join() for _ in range(3)]
    assert studies_[0].parent() is None
    agreed = [study.set_up(f"run {index}", STARTS) for index, study in enumerate(studies_)]
    assert agreed == ["run 0"] * 3
    assert {study.parent() for study in studies_} == {"run 0"}


def test_points_that_two_queued_at_the_same_moment_are_tried_once(join):
    one = join()
    one.set_up("a", STARTS)
    # As if another had looked before the first had written.
    for index, point in enumerate(STARTS):
        one._study.enqueue_trial(point, user_attrs={leases_file.KEY: f"start {index}"})
    claimed = [one.claim(10) for _ in range(5)]
    points = [trial.params for trial in claimed if trial is not None]
    assert points[:2] == STARTS
    assert sum(point in STARTS for point in points) == 2
    assert states(one).count("FAIL") == 2


def test_no_more_trials_are_given_out_than_the_study_has_places(join):
    one, other = join(), join()
    one.set_up("a", STARTS)
    first, second, third = one.claim(3), other.claim(3), one.claim(3)
    assert other.claim(3) is None
    assert one.leases.fail(third, "why")
    fourth = other.claim(3)
    for study, trial in ((one, first), (other, second), (other, fourth)):
        assert finish(study, trial)
    assert one.claim(3) is None
    assert (one.count_judged(), other.count_judged()) == (3, 3)
    assert states(one).count("FAIL") == 1


def test_whoever_looked_too_early_gives_the_last_place_up(join, monkeypatch):
    one, other = join(), join()
    one.set_up("a", STARTS[:1])
    assert finish(one, one.claim(2))
    early = other.trials
    # It sees the study as it was before another took the last place.
    before = iter([other.trials(TrialState.COMPLETE)])
    last = one.claim(2)
    monkeypatch.setattr(other, "trials", lambda *asked: next(before, None) or early(*asked))
    assert other.claim(2) is None
    assert finish(one, last)
    assert states(one) == ["COMPLETE", "COMPLETE", "FAIL"]


@pytest.mark.parametrize("named", [True, False])
def test_the_trial_of_a_dead_process_is_queued_again(join, named, monkeypatch):
    study = join()
    study.set_up("a", STARTS)
    trial = study.claim(5)
    died = subprocess.Popen([sys.executable, "-c", ""])
    owner = Owner(Owner.here().host, died.pid, processes._started(died.pid))
    died.wait()
    study.leases.write(trial, {leases_file._OWNER: vars(owner) if named else None})
    monkeypatch.setattr(leases_file, "_SECONDS_WITHOUT_OWNER", 0.0)
    late = join()
    # A nameless one is given a moment first.
    assert late.leases.give_back_abandoned() == ([0] if named else [])
    assert late.leases.give_back_abandoned() == ([] if named else [0])
    assert late.trials()[0].state == TrialState.FAIL
    assert not finish(study, trial)
    tried = [late.claim(5).params for _ in range(2)]
    assert tried == [STARTS[1], STARTS[0]]
    assert late.claim(5).number == 3


def test_a_process_killed_before_it_could_queue_again_is_stood_in_for(join):
    study = join()
    study.set_up("a", STARTS[:1])
    trial = study.claim(5)
    study.leases.write(trial, {leases_file._AGAIN: trial.params})
    study.leases.end(trial.number, TrialState.FAIL)
    join().leases.give_back_abandoned()
    join().leases.give_back_abandoned()
    assert [study.claim(5).params for _ in range(1)] == STARTS[:1]
    assert len(study.trials()) == 2


def test_the_trial_of_a_live_process_is_left_alone(join):
    one, other = join(), join()
    one.set_up("a", STARTS)
    trial = one.claim(5)
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = Owner(Owner.here().host, sleeper.pid, processes._started(sleeper.pid))
    one.leases.write(trial, {leases_file._OWNER: vars(alive)})
    assert other.leases.give_back_abandoned() == []
    reused = Owner(alive.host, alive.pid, alive.started + "1")
    one.leases.write(trial, {leases_file._OWNER: vars(reused)})
    assert other.leases.give_back_abandoned() == [0]
    sleeper.communicate()


def test_a_process_elsewhere_lives_as_long_as_it_renews_its_lease(join, monkeypatch):
    monkeypatch.setattr(leases_file, "SECONDS_OF_SILENCE", 0.0)
    one, other = join(), join()
    one.set_up("a", STARTS)
    trial = one.claim(5)
    one.leases.write(trial, {leases_file._OWNER: {"host": "elsewhere", "pid": 1, "started": "1"}})
    for _ in range(3):
        one.leases.renew()
        assert other.leases.give_back_abandoned() == []
    assert other.leases.give_back_abandoned() == [0]


def test_a_study_is_about_one_thing(join):
    join().define({"metric": "mae", "rounds": 100})
    join().define({"metric": "mae", "rounds": 100})
    with pytest.raises(InputError) as caught:
        join().define({"metric": "mae", "rounds": 50})
    assert str(caught.value) == (
        "Study 's' was begun with rounds=100; got 50; give another --study a name, or leave --study "
        "out."
    )


def test_a_restart_goes_on_as_if_there_had_been_none(join, tmp_path):
    def values(study, count):
        for _ in range(count):
            trial = study.claim(99)
            finish(study, trial, (trial.params["x"] - 0.3) ** 2 + trial.params["k"])
        return [trial.params for trial in study.trials()]

    unbroken = Study("other", join().storage, SPACE, seed=0)
    unbroken.set_up("a", STARTS)
    expected = values(unbroken, 20)
    one = join()
    one.set_up("a", STARTS)
    values(one, 7)
    assert values(join(), 13) == expected
    assert len({tuple(point.values()) for point in expected}) == 20


def goes_on(study, trial, step, value):
    """Report a value, and say whether the trial goes on, as a worker does."""
    assert study.report(trial, step, value)
    return value <= study.limits(trial, [step]).get(step, math.inf)


def test_pruning_is_by_the_median_of_the_complete_trials(join):
    study = join()
    study.set_up("a", STARTS)
    # Those that a trial may not know of yet are no judges either, whatever they say.
    for value in [*range(10), *[99] * (UNDER_WAY - 1)]:
        trial = study.claim(99)
        assert goes_on(study, trial, 25, float(value))
        finish(study, trial, float(value))
    good = study.claim(99)
    assert goes_on(study, good, 25, 4.0)
    finish(study, good, 4.0)
    bad = study.claim(99)
    assert not goes_on(study, bad, 25, 6.0)
    assert study.prune(bad)
    assert study.count_judged() == 11 + UNDER_WAY


def test_a_trial_waits_for_those_that_it_must_know_of(join):
    study = join()
    study.set_up("a", STARTS)
    begun = [study.claim(99) for _ in range(UNDER_WAY)]
    assert study.claim(99) is None
    for trial in begun[1:]:
        finish(study, trial)
    assert study.claim(99) is None
    finish(study, begun[0])
    assert study.claim(99).number == UNDER_WAY


def test_equal_studies_are_equal_whichever_trials_end_first(tmp_path):
    def tried(name, order):
        with open_storage(f"journal:{tmp_path}/{name}") as storage:
            study = Study("s", storage, SPACE, seed=3)
            study.set_up("a", STARTS)
            begun = []
            while len(study.trials()) < 40 or begun:
                while len(begun) < UNDER_WAY and (trial := study.claim(40)):
                    begun.append(trial)
                trial = begun.pop(order(len(begun)))
                value = math.sin(50 * trial.params["x"]) + trial.params["k"] % 3
                if goes_on(study, trial, 25, value):
                    finish(study, trial, value)
                else:
                    study.prune(trial)
            return [(each.number, each.state, each.params) for each in study.trials()]

    first = tried("first", lambda _: 0)
    assert {state for _, state, _ in first} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert tried("last", lambda count: count - 1) == first
    drawn = np.random.default_rng(0)
    assert tried("drawn", lambda count: int(drawn.integers(count))) == first


def test_the_best_is_the_first_of_equals(join):
    study = join()
    assert study.best() is None
    study.set_up("a", STARTS)
    for value in (3.0, 1.0, 1.0):
        finish(study, study.claim(9), value)
    best = study.best()
    assert (best.number, best.value, best.rounds) == (1, 1.0, 7)
    assert best.loss == {"name": "huber", "params": {"delta": 1.0}}


def test_what_mattered_is_told_once_there_is_something_to_tell(join):
    study = join()
    study.set_up("a", STARTS)
    for _ in range(8):
        assert study.importance() == {}
        finish(study, study.claim(99), 1.0)
    assert study.importance() == {}
    for _ in range(8):
        trial = study.claim(99)
        finish(study, trial, trial.params["x"])
    shares = study.importance()
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == "x"


def test_a_watch_tells_what_has_not_changed():
    watch = Watch(0.0)
    assert not watch.is_stale("a", 1)
    assert watch.is_stale("a", 1)
    assert not watch.is_stale("a", 2)
    assert not Watch(60).is_stale("a", 1)


def test_a_process_is_known_by_its_start_too():
    here = Owner.here()
    assert here.is_alive()
    assert Owner.from_json(vars(here)) == here
    assert not Owner(here.host, os.getpid(), "then").is_alive()
    assert Owner("elsewhere", 1, "1").is_alive() is None
    assert Owner.from_json({"pid": "x"}) is None
    assert Owner.from_json(None) is None


TARGETS = {
    "ordinary": [-3.0, -1.0, 0.0, 2.0, 4.0],
    "mostly equal": [0.0] * 9 + [5.0],
    "constant": [0.0] * 5,
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
def test_every_point_to_start_with_lies_in_the_space_and_is_a_loss(loss, target):
    stats = Residuals(target)
    space = loss.search_space(stats)
    for point in loss.starts(stats):
        assert set(point) == set(space)
        assert all(point[name] in interval for name, interval in space.items())
        assert isinstance(loss.at(point), loss)
    # A scale that is fixed, in target units, depends on the target.
    if loss.starts(stats) and loss is not losses.Huber and not issubclass(loss, ScaledLoss):
        assert loss.at(loss.starts(stats)[0]) == loss()


@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
@settings(max_examples=50)
@given(data=st.data())
def test_every_point_of_a_space_is_a_loss(loss, data):
    space = loss.search_space(Residuals([-3.0, -1.0, 0.0, 2.0, 4.0]))
    point = {
        name: data.draw(st.floats(interval.low, interval.high)) for name, interval in space.items()
    }
    assert isinstance(loss.at(point), loss)


@given(st.floats(*(LEVELS["q_low"].low, LEVELS["q_low"].high)), st.floats(0.01, 0.99))
def test_levels_are_in_order_and_found_again(q_low, gap):
    levels = levels_at({"q_low": q_low, "gap": gap})
    assert 0 < levels["q_low"] < levels["q_high"] < 1
    assert levels_at(point_of(**levels)) == pytest.approx(levels, abs=1e-9)
