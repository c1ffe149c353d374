"""`tune --engine=dask`: trials on the workers of a Dask cluster, to the same study as on one host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from optuna.trial import TrialState

pytest.importorskip("distributed", reason="trials on a cluster need Dask")

from distributed import Client

from asrl_mlflow import tune
from asrl_mlflow.datasets import Contamination, from_arrays, split
from asrl_mlflow.errors import ClusterError
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.experiments.trials.assignment import ENDS, Assignment
from asrl_mlflow.experiments.trials.cluster import ClusterPool, count_threads
from asrl_mlflow.losses import Huber
from asrl_mlflow.system import clusters
from asrl_mlflow.tuning import Plan
from tests.processes import spawn
from tests.stores import runs
from tests.tuning.test_tune import QUICK, check_stores_agree, in_work, trials_of, wait_until

# So long that it is interrupted.
ENDLESS = ("--rounds=5000", "--early-stopping-rounds=5000")


class Cluster:
    """A scheduler and workers, in processes of their own."""

    def __init__(self):
        self.scheduler = self._start("scheduler", "--port=0")
        lines = (line for line in self.scheduler.stderr if "Scheduler at:" in line)
        self.address = next(lines).split()[-1]
        self._workers = []

    def have(self, count):
        """Have so many workers that live, the first of them."""
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        while len(self._workers) < count:
            self._workers.append(self._start("worker", self.address, "--no-nanny", "--nthreads=1"))
        with Client(self.address) as client:
            client.wait_for_workers(count)
        return self._workers[0]

    def remove(self):
        for process in (self.scheduler, *self._workers):
            process.kill()
            process.communicate()

    @staticmethod
    def _start(kind, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard"]
        err = subprocess.PIPE if kind == "scheduler" else subprocess.DEVNULL
        return subprocess.Popen([*command, *options], stderr=err, text=True)


@pytest.fixture(scope="module")
def others():
    """A cluster of others, which is there before and after."""
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
def when_in_work(store):
    """Call something once a trial is worked on."""
    threads = []

    def when(call):
        def wait():
            while not in_work(store):
                time.sleep(0.02)
            call()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield when
    for thread in threads:
        thread.join()


def told(storage):
    """All that a study knows of its trials."""
    return [
        (each.number, each.state, each.params, each.value, each.intermediate_values)
        for each in trials_of(storage)
    ]


def test_the_same_command_gives_the_same_study_on_a_cluster(flow, store, cluster):
    where = f"--scheduler={cluster.scheduler_address}"
    for name, options in {"here": ["--jobs=1"], "there": ["--jobs=dask", where]}.items():
        given = ("--study=s", "--trials=16", f"--storage=journal:{name}", *options)
        code, _, err = flow("tune", "--rounds=12", "--figures=false", *given)
        assert (code, "Traceback" in err) == (0, False), err
    assert told("journal:here") == told("journal:there")
    assert {state for _, state, *_ in told("journal:there")} == {
        TrialState.COMPLETE,
        TrialState.PRUNED,
    }
    # Whoever shares the cluster finds it as it was.
    with Client(cluster.scheduler_address) as client:
        assert not client.has_what() or not any(client.has_what().values())
        assert not any(topic.startswith("asrl") for topic in client.get_events())


def test_the_python_interface_takes_a_client(store, cluster, table):
    with Client(cluster.scheduler_address) as client:
        tuned = tune(*table, trials=2, rounds=4, figures=False, client=client)
    assert tuned.outcome.complete == 2


def check_given_back(store):
    """No run is open, and each trial that was begun is queued again."""
    parents, children = runs(store)
    assert "RUNNING" not in {run.info.status for run in parents + children}
    trials = trials_of("journal:j")
    begun = [trial.params for trial in trials if trial.state == TrialState.FAIL]
    queued = [
        trial.system_attrs["fixed_params"] for trial in trials if trial.state == TrialState.WAITING
    ]
    assert begun
    assert all(params in queued for params in begun)


def test_ctrl_c_gives_the_trials_back_and_leaves_the_workers_free(store, others):
    others.have(1)
    given = ["--storage=journal:j", *ENDLESS, "--engine=dask", f"--scheduler={others.address}"]
    process = spawn("flows.tune", *QUICK, *given, stderr=subprocess.PIPE)
    wait_until(lambda: in_work(store), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, "Traceback" in err) == (128 + signal.SIGINT, False), err
    assert "tune: Interrupted by SIGINT; unfinished runs are KILLED;" in err
    check_given_back(store)
    with Client(others.address) as client:
        # It would wait for the end of the trial.
        assert client.submit(int, "3").result(timeout=60) == 3


def test_the_trial_of_a_worker_that_is_killed_is_done_by_another(flow, store, others, when_in_work):
    when_in_work(others.have(2).kill)
    given = ["--trials=2", "--storage=journal:j", "--engine=dask", f"--scheduler={others.address}"]
    code, _, err = flow("tune", "--study=s", "--figures=false", "--rounds=100", *given)
    assert (code, "Traceback" in err) == (0, False)
    _, trials = check_stores_agree(store, "journal:j", 2)
    assert [trial.state for trial in trials].count(TrialState.FAIL) == 1


def test_a_scheduler_that_freezes_is_not_waited_for_for_ever(others, monkeypatch):
    with Client(others.address) as client:
        others.have(1)
        assert count_threads(client) == 1
        monkeypatch.setattr(clusters, "SILENCE", 0.5)
        os.kill(others.scheduler.pid, signal.SIGSTOP)
        try:
            for ask in (lambda: count_threads(client), ClusterPool(client)._replace):
                with pytest.raises(ClusterError, match="no answer within"):
                    ask()
        finally:
            os.kill(others.scheduler.pid, signal.SIGCONT)


def test_a_scheduler_that_is_killed_ends_the_command_and_gives_the_trials_back(
    flow, store, others, when_in_work
):
    others.have(1)
    when_in_work(others.scheduler.kill)
    given = ["--storage=journal:j", *ENDLESS, "--engine=dask", f"--scheduler={others.address}"]
    code, _, err = flow("tune", *QUICK, *given)
    assert (code, "Traceback" in err) == (7, False), err
    assert err.splitlines()[-1].startswith("tune: tune --engine=dask needs a scheduler, and ")
    check_given_back(store)


def test_workers_of_this_host_are_deaf_to_ctrl_c_also_those_that_are_started_anew():
    def ask():
        return os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def heard():
        (answer,) = client.run(ask).values()
        return answer

    with clusters.connect(None, 1, threads=1) as client:
        first, blocked = heard()
        assert signal.SIGINT in blocked
        os.kill(first, signal.SIGKILL)
        while first in (found := client.run(os.getpid, on_error="ignore").values()) or not found:
            time.sleep(0.1)
        assert signal.SIGINT in heard()[1]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_cluster_that_does_not_answer_ends_with_exit_code_7(flow, store, monkeypatch):
    monkeypatch.setattr(clusters, "_SECONDS_TO_CONNECT", 1)
    code, _, err = flow("tune", *QUICK, "--engine=dask", "--scheduler=tcp://127.0.0.1:9")
    assert (code, "Traceback" in err) == (7, False)
    assert "--scheduler needs the address of a Dask scheduler with workers;" in err
    assert runs(store) == ([], [])


@pytest.mark.parametrize("option", ["--scheduler=tcp://h:1", "--workers=2"])
def test_what_is_about_a_cluster_needs_the_engine(flow, store, option):
    code, _, err = flow("tune", *QUICK, option)
    assert (code, "is about a cluster; got no --engine" in err) == (2, True)


def test_where_dask_is_not_installed_its_extra_is_named(flow, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "asrl_mlflow.system.clusters", None)
    code, _, err = flow("tune", *QUICK, "--jobs=dask")
    assert (code, "pip install 'asrl-mlflow[dask]'" in err) == (2, True)


def test_deaths_of_workers_count_only_while_no_trial_ends(cluster, table):
    x, y = table
    plan = Plan(
        loss=Huber,
        table=from_arrays(x, y),
        metric="mae",
        seed=0,
        settings=Settings(rounds=2),
        contamination=Contamination(),
        tune_booster=False,
    )
    contest = plan.contest(split(plan.table.rows, 0))
    with Client(cluster) as client:
        pool = ClusterPool(client)
        pool.start(contest, 1)
        pool._died_in_a_row = 9
        ends = []
        try:
            while not ends:
                pool.wait(1)
                for worker, message in pool.receive():
                    if message == ("ready",):
                        worker.judge(Assignment.of(Huber(), {}, {}))
                    ends += [message] if message[0] in ENDS else []
        finally:
            pool.close()
    assert (ends[0][0], pool._died_in_a_row) == ("done", 0)
