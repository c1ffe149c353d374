"""A study that several hosts work on, whose database goes and comes back."""

from __future__ import annotations

import subprocess
import time

import optuna

from asrl_mlflow.studies.storages import open_storage
from tests.postgres import Postgres
from tests.processes import spawn
from tests.tuning.test_tune import QUICK, check_stores_agree, trials_of, wait_until


def count_judged(address):
    """How many trials of the study are complete or pruned; 0 before it is there."""
    with open_storage(address) as storage:
        if "s" not in optuna.get_all_study_names(storage):
            return 0
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials_of(address))


def test_two_commands_outlast_a_restart_of_their_database(store):
    server = Postgres()
    try:
        command = ["flows.tune", *QUICK, "--rounds=20", "--trials=6", f"--storage={server.url}"]
        processes = [spawn(*command, stderr=subprocess.PIPE) for _ in range(2)]
        wait_until(lambda: count_judged(server.url), processes[0])
        server.stop()
        time.sleep(1)  # each looks at the study every half second
        server.start()
        said = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0] * 2, said
        assert any(
            "The storage of studies does not answer; it is waited for" in err for err in said
        )
        check_stores_agree(store, server.url, 6)
    finally:
        server.remove()
