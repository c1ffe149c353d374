"""Write the page of a run, and log it with the run."""

from __future__ import annotations

import logging

from asrl_mlflow.errors import InputError, StoreError
from asrl_mlflow.reports import comparison, story, study
from asrl_mlflow.reports.reading import MAIN, TUNE, read_runs
from asrl_mlflow.reports.rendering import render
from asrl_mlflow.tracking.run_log import RunLog

_logger = logging.getLogger(__name__)

# Its name among the artifacts of a run.
REPORT = "report.html"


def write(run_id: str) -> str:
    """Write the page of a run from what the tracking store has.

    Parameters
    ----------
    run_id : str
        Of a run of compare, tune or main.

    Returns
    -------
    str
        HTML that loads nothing from elsewhere.

    Raises
    ------
    InputError
        The store has no such run, or none of its children was measured on test rows yet.
    StoreError
        The store does not answer.
    """
    runs = read_runs(run_id)
    if runs.flow == TUNE:
        page = study.make_page(runs)
    elif not runs.finished:
        msg = (
            f"report needs a child run that was measured on test rows; got none in run {run_id}; wait until "
            f"{runs.flow} has ended, or run it again."
        )
        raise InputError(msg)
    else:
        page = (story if runs.flow == MAIN else comparison).make_page(runs)
    return render(page)


def publish(log: RunLog) -> None:
    """Log the page of a run whose children have ended; without one where the store lacks something.

    Parameters
    ----------
    log : RunLog
        Of a run of compare, tune or main that is still open.
    """
    log.flush()
    if log.unsent_files():
        return
    try:
        page = write(log.run_id)
    except (InputError, StoreError) as error:
        _logger.warning("%s is not written: %s", REPORT, error)
    else:
        log.artifact(REPORT, page.encode())
