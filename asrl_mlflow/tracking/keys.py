"""Names under which runs record the params of a loss, a booster and a table, and the tags of runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.system.processes import Owner

# Of every run: the version of this package, and the entry point.
VERSION_TAG, FLOW_TAG = "asrl.version", "asrl.flow"
# Of a run that a command line made and that is no child of another: the command, without secrets.
COMMAND_TAG = "asrl.command"
# Of a run of `main`: the id of the run whose model it has chosen.
CHOSEN_TAG = "asrl.chosen"
# Of a run that trained on from a registered model: its URI.
CONTINUED_TAG = "asrl.continued"
# Of a run of a study: the study's name, and of a trial's run the trial's number.
STUDY_TAG, TRIAL_TAG = "asrl.study", "asrl.trial"
# Of a run of the flow `study`: what tells its grid from others, and of a cell's run what tells the cell.
GRID_TAG, CELL_TAG = "asrl.grid", "asrl.cell"
# The process that works on a run, as JSON.
OWNER_TAG = "asrl.owner"
# Of a run whose process was killed and that another process has ended.
REAPED_TAG = "asrl.reaped"
# Of the run of a trial that was pruned.
PRUNED_TAG = "asrl.pruned"
# In front of the metrics of a round that not all folds of a trial have had: their means are over other
# rows, and must not be sorted among those of whole rounds. A section of its own in MLflow's charts.
PARTIAL = "partial/"
# Of a run that went on from a checkpoint of one that was ended in the middle: how many rounds that had.
RESUMED_TAG = "asrl.resumed"
# Of a study's parent run: the loss and booster that were judged on the test rows, as JSON.
BEST_TAG = "asrl.best"
# Of a run that `mlflow run` has opened for a study that already had a run: the id of that run.
LINK_TAG = "asrl.study_run"
# Made by this package for each run that it creates, and not by the store: a run is found by it where
# the store did not confirm that it was created.
KEY_TAG = "asrl.key"

# Of a run of `doctor`: the loss that it advises, and levels for `asrl_c`, as `--loss-params` takes them.
ADVICE_TAG, LEVELS_TAG = "doctor.loss", "doctor.levels"


def loss_params(loss: BaseLoss) -> dict[str, object]:
    """Name the params of a loss: `loss.name` and `loss.<field>`."""
    fields = dataclasses.asdict(loss).items()
    return {"loss.name": loss.name, **{f"loss.{key}": value for key, value in fields}}


def booster_params(
    params: Mapping[str, object],
    rounds: int | None = None,
    early_stopping_rounds: int | None = None,
) -> dict[str, object]:
    """Name the params of boosting: `booster.<XGBoost's name>`.

    Parameters
    ----------
    params : mapping of str to object
        XGBoost's parameters by their names.
    rounds, early_stopping_rounds : int, optional
        What `train` is given beside them; None is left out.

    Examples
    --------
    >>> booster_params({"max_depth": 6}, rounds=100)
    {'booster.max_depth': 6, 'booster.num_boost_round': 100}
    """
    limits = {"num_boost_round": rounds, "early_stopping_rounds": early_stopping_rounds}
    given = {key: value for key, value in limits.items() if value is not None}
    return {f"booster.{key}": value for key, value in {**params, **given}.items()}


def data_params(dataset: Dataset, contamination: Contamination) -> dict[str, object]:
    """Name the params of a table and of what was done to its targets: `data.<name>`."""
    return {
        "data.name": dataset.name,
        "data.rows": len(dataset.rows),
        "data.target": dataset.target_name,
        "data.digest": dataset.digest,
        "data.weight": dataset.roles.weight,
        "data.weight_rule": dataset.rows.weight_rule if dataset.roles.weight else None,
        "data.group": dataset.roles.group,
        "data.time": dataset.roles.time,
        "data.truth": dataset.roles.truth,
        "data.drop": ",".join(dataset.roles.drop) or None,
        **contamination.params(),
    }


def doctor_metrics(measured: Mapping[str, float]) -> dict[str, float]:
    """Name what the doctor measured of a target: `doctor.<name>`."""
    return {f"doctor.{name}": value for name, value in measured.items()}


def monitor_params(uri: str, data: str, alarm_rate: float) -> dict[str, object]:
    """Name the params of a run of `monitor`: the version, the later rows, and how often alarms may be false."""
    return {"model": uri, "data.name": data, "alarm_rate": alarm_rate}


def monitor_metrics(found: Mapping[str, float]) -> dict[str, float]:
    """Name what the monitor found, of a batch or of all: `monitor.<name>`.

    Examples
    --------
    >>> monitor_metrics({"alarms": 2})
    {'monitor.alarms': 2}
    """
    return {f"monitor.{name}": value for name, value in found.items()}


def owner_tags() -> dict[str, str]:
    """Name this process as the one that works on a run."""
    return {OWNER_TAG: json.dumps(vars(Owner.here()))}


def read_owner(tags: Mapping[str, str]) -> Owner | None:
    """Read which process works on a run from the run's tags; None where they name none."""
    try:
        return Owner.from_json(json.loads(tags.get(OWNER_TAG, "null")))
    except ValueError:
        return None
