"""Runs that a process left RUNNING: it was killed, and nobody else would end them.

A run of a study is ended as its trial has ended, by `study_runs`; all others here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

import mlflow
from mlflow.entities import Run

from asrl_mlflow.system.processes import Owner
from asrl_mlflow.tracking.run_log import SPOOL
from asrl_mlflow.tracking.spool import one_line

_logger = logging.getLogger(__name__)

STUDY_TAG, OWNER_TAG, REAPED_TAG = "asrl.study", "asrl.owner", "asrl.reaped"
# Of a run of `mlflow run` that went on with the run of a study instead.
LINK_TAG = "asrl.study_run"


def owner_tag() -> dict[str, str]:
    """The tag by which a run of this process is known as its own."""
    return {OWNER_TAG: json.dumps(vars(Owner.here()))}


def owner_of(tags: Mapping[str, str]) -> Owner | None:
    """The process that a run's tags name; None where they name none."""
    try:
        return Owner.from_json(json.loads(tags.get(OWNER_TAG, "null")))
    except ValueError:
        return None


def end_leftovers() -> None:
    """End the runs of this store whose process, one of this host, is no more; say so in one line.

    In every experiment: a flow may have been told another one the last time. A store that does not
    answer is asked again by the next flow.
    """
    client = mlflow.MlflowClient()
    try:
        ended = [_ended(client, run) for run in _running(client)]
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        _logger.warning(
            "The tracking store does not tell which runs were left: %s", one_line(error)
        )
        return
    names = [name for name in ended if name is not None]
    if names:
        _logger.warning(
            "Ended %d run%s of a process that is no more as KILLED: %s.",
            len(names),
            "" if len(names) == 1 else "s",
            ", ".join(names),
        )


def _running(client: mlflow.MlflowClient) -> list[Run]:
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


def _ended(client: mlflow.MlflowClient, run: Run) -> str | None:
    """The name of a run that was left and is ended now; None of any other."""
    run_id, owner = run.info.run_id, owner_of(run.data.tags)
    if STUDY_TAG in run.data.tags or owner is None or owner.is_alive() is not False:
        return None
    # Its spool file tells how it ended, once that is sent.
    if (SPOOL / f"{run_id}.jsonl").exists():
        return None
    # It may have ended its run before it left, and after we had looked.
    if client.get_run(run_id).info.status != "RUNNING":
        return None
    client.set_tag(run_id, REAPED_TAG, "true")
    client.set_terminated(run_id, "KILLED")
    return str(run.info.run_name)
