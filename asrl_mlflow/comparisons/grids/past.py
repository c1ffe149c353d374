"""Find in the tracking store what earlier commands have done of a grid: its parent run, and its cells."""

from __future__ import annotations

from collections.abc import Mapping

import mlflow
from mlflow.entities import Run

from asrl_mlflow.comparisons.grids.cells import Judged, Task
from asrl_mlflow.errors import InputError, StoreError
from asrl_mlflow.system.processes import Owner
from asrl_mlflow.tracking.keys import CELL_TAG, GRID_TAG, read_owner
from asrl_mlflow.tracking.retries import limit_waiting, retry
from asrl_mlflow.tracking.spool import one_line
from asrl_mlflow.tracking.store import store_address

# The metric that has the test MAE after each round of a cell.
CURVE = "curve.mae"


def find_parent(digest: str) -> Run | None:
    """Find the parent run of a grid, of several the newest; None where the grid is new.

    Parameters
    ----------
    digest : str
        Of the grid, as it was asked for.

    Raises
    ------
    InputError
        Another process of this host works on the grid.
    StoreError
        The store does not answer.
    """
    found = _search(f"tags.`{GRID_TAG}` = '{digest}'")
    if not found:
        return None
    parent = max(found, key=lambda run: run.info.start_time)
    owner = read_owner(parent.data.tags)
    if parent.info.status == "RUNNING" and owner not in (None, Owner.here()) and owner.is_alive():
        msg = (
            f"study works on a grid in one process at a time; got run {parent.info.run_id}, which process "
            f"{owner.pid} works on; wait for it, or end it and give the same command again."
        )
        raise InputError(msg)
    return parent


def find_done(tasks: Mapping[str, Task]) -> dict[str, Judged]:
    """Find the cells that are done, whatever grid they were done for.

    Parameters
    ----------
    tasks : mapping of str to Task
        By the key of the cell.

    Returns
    -------
    dict of str to Judged
        By the key of the cell.

    Raises
    ------
    StoreError
        The store does not answer.
    """
    done = {}
    for digest in {task.table.digest for task in tasks.values()}:
        is_done = (
            f"attributes.status = 'FINISHED' and tags.`{CELL_TAG}` LIKE '_%' "
            f"and params.`data.digest` = '{digest}'"
        )
        for run in _search(is_done):
            key = run.data.tags[CELL_TAG]
            if key in tasks:
                curve = _read_curve(run.info.run_id) if tasks[key].rules.curves else ()
                done[key] = Judged(tasks[key].cell, run.data.metrics, run.data.params, curve)
    return done


def _read_curve(run_id: str) -> tuple[float, ...]:
    """Read the test MAE after each round."""
    with limit_waiting():
        history = retry(lambda: mlflow.MlflowClient().get_metric_history(run_id, CURVE))
    return tuple(each.value for each in sorted(history, key=lambda each: each.step))


def _search(condition: str) -> list[Run]:
    """Search all experiments: the command may have been given another one the last time."""
    client = mlflow.MlflowClient()

    def search() -> list[Run]:
        experiments = [each.experiment_id for each in client.search_experiments()]
        runs: list[Run] = []
        token = None
        while True:
            page = client.search_runs(experiments, condition, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    try:
        with limit_waiting():
            return retry(search)
    except Exception as error:
        msg = (
            f"The tracking store must say which cells are done; got {one_line(error)} from {store_address()}; "
            "start it, and give the same command again."
        )
        raise StoreError(msg) from error
