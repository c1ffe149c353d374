"""End runs that are still RUNNING although their process was killed.

The run of a study's trial is not ended here but by `tuning.study_runs`, with the status of its trial.
"""

from __future__ import annotations

import logging

import mlflow
from mlflow.entities import Run

from asrl_mlflow.tracking.keys import OWNER_TAG, REAPED_TAG, STUDY_TAG, read_owner
from asrl_mlflow.tracking.run_log import SPOOL
from asrl_mlflow.tracking.spool import one_line

_logger = logging.getLogger(__name__)


def end_abandoned_runs() -> None:
    """End the store's runs whose process ran on this host and is gone; say so in one line.

    All experiments are searched: the command may have been given another one the last time. Where the
    store does not answer, nothing is ended, and the next command tries again.
    """
    client = mlflow.MlflowClient()
    try:
        names = [
            str(run.info.run_name) for run in _search_running(client) if _end_abandoned(client, run)
        ]
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        _logger.warning(
            "The tracking store could not be searched for runs of killed processes: %s",
            one_line(error),
        )
        return
    if names:
        _logger.warning(
            "Ended %d run%s whose process is gone as KILLED: %s.",
            len(names),
            "" if len(names) == 1 else "s",
            ", ".join(names),
        )


def _search_running(client: mlflow.MlflowClient) -> list[Run]:
    """Search all experiments for runs that are RUNNING and name their process."""
    experiments = [each.experiment_id for each in mlflow.search_experiments()]
    found: list[Run] = []
    token = None
    while experiments:
        page = client.search_runs(
            experiments,
            f"attributes.status = 'RUNNING' and tags.`{OWNER_TAG}` LIKE '{{%'",
            page_token=token,
        )
        found += page
        token = page.token
        if not token:
            break
    return found


def _end_abandoned(client: mlflow.MlflowClient, run: Run) -> bool:
    """End a run as KILLED where its process is gone; False for any other run."""
    run_id, owner = run.info.run_id, read_owner(run.data.tags)
    if STUDY_TAG in run.data.tags or owner is None or owner.is_alive() is not False:
        return False
    # Its spool file has its true status, which is set when the file is sent.
    if (SPOOL / f"{run_id}.jsonl").exists():
        return False
    # Its process may have ended it after the search.
    if client.get_run(run_id).info.status != "RUNNING":
        return False
    client.set_tag(run_id, REAPED_TAG, "true")
    client.set_terminated(run_id, "KILLED")
    return True
