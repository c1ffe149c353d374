"""Run one experiment whose rows are spread over the workers of a Dask cluster.

Loaded where it is asked for: it needs the extra `dask`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import xgboost
from distributed import Client

from asrl_mlflow import distributed, tracking
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.distributed.table import ClusterTable
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.experiment import Result, data_record, draw, evaluate_and_log
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import Loss, to_config
from asrl_mlflow.records.unseen import calibrate_held_out, measure_unseen
from asrl_mlflow.residuals.conformal import Calibration
from asrl_mlflow.rounds import Round
from asrl_mlflow.system.files import write_atomically
from asrl_mlflow.tracking.keys import RESUMED_TAG, data_params
from asrl_mlflow.tracking.run_log import RunLog

# In the current folder.
FOLDER = "asrl-checkpoints"


def run_cluster_experiment(
    client: Client,
    loss: Loss,
    table: ClusterTable,
    log: RunLog,
    *,
    seed: int,
    settings: Settings,
    checkpoint_every: int | None,
    on_round: Callable[[Round], object],
) -> Result:
    """Train on a cluster, measure on the test rows here; log everything to an open run.

    Parameters
    ----------
    client : Client
        Of the cluster.
    loss : Loss
        What to minimise.
    table : ClusterTable
        The rows.
    log : RunLog
        The log of the open run.
    seed : int
        The seed of split and booster.
    settings : Settings
        How to boost.
    checkpoint_every : int, optional
        Keep the booster after every so many rounds, and go on from the last one that the same training has
        left.
    on_round : callable
        Called with each round after it was logged, for a progress bar.
    """
    params = settings.booster_params(seed)
    test = table.bring_test()
    untouched = Contamination()
    dataset = Dataset(table.name, test, table.target, table.source, table.digest, table.roles)
    log.params(
        {
            **tracking.loss_params(loss),
            **tracking.booster_params(params, settings.rounds, settings.early_stopping_rounds),
            **data_params(dataset, untouched),
            "data.rows": table.rows,
            "split.rows": "/".join(map(str, table.counts)),
            "seed": seed,
        }
    )
    types = {str(name): kind for name, kind in test.features.dtypes.items()}
    log.used(
        table.name,
        table.digest,
        {**types, table.target: np.dtype(np.float64)},
        rows=table.rows,
        origin=table.source,
    )
    checkpoint = Checkpoint.of(loss, table, settings, seed) if checkpoint_every else None
    going_on = None if checkpoint is None else checkpoint.load()
    done = 0 if going_on is None else going_on.num_boosted_rounds()
    if done:
        log.tags({RESUMED_TAG: str(done)})
    rounds: list[Round] = []

    def listen(round_: Round) -> None:
        rounds.append(round_)
        log.round(round_)
        on_round(round_)

    started = time.perf_counter()
    dtrain = table.matrix(client, table.train)
    dvalid = table.matrix(client, table.valid, ref=dtrain)
    booster = distributed.train(
        client,
        params,
        dtrain,
        settings.rounds - done,
        loss=loss,
        evals=[(dvalid, "valid")],
        early_stopping_rounds=settings.early_stopping_rounds,
        on_round=listen,
        xgb_model=going_on,
        weight_rule=table.weight_rule,
        checkpoint_every=checkpoint_every,
        on_checkpoint=None if checkpoint is None else checkpoint.save,
    )
    seconds = time.perf_counter() - started
    valid = table.bring_valid()
    calibration = Calibration.of_errors(np.empty(0))
    if settings.early_stopping_rounds is None:
        calibration = calibrate_held_out(booster, valid)
    kept = measure_unseen(calibration, booster, test, is_fresh=True)
    data = {**data_record(dataset, untouched), "rows": table.rows}
    result = evaluate_and_log(loss, booster, rounds, seconds, test, data, kept, log)
    if settings.figures:
        title = f"{loss.label} on {table.name}, seed {seed}"
        draw(loss, booster, test, result, log, title, valid, kept)
    if checkpoint is not None:
        checkpoint.remove()
    return result


class Checkpoint:
    """The booster of a training that is not done, in a file whose name tells it from all others.

    Parameters
    ----------
    path : Path
        Of the file.
    rounds : int
        How many the training shall have.
    """

    def __init__(self, path: Path, rounds: int) -> None:
        self.path, self._rounds = path, rounds

    @classmethod
    def of(cls, loss: Loss, table: ClusterTable, settings: Settings, seed: int) -> Checkpoint:
        """The checkpoint of this training: one with other rows, loss or settings has another file.

        Raises
        ------
        InputError
            With early stopping, whose patience would begin anew.
        """
        if settings.early_stopping_rounds is not None:
            msg = (
                "--checkpoint-every keeps trees, not how long nothing has improved; got --early-stopping-rounds="
                f"{settings.early_stopping_rounds}; leave one of them out."
            )
            raise InputError(msg)
        what = {
            "loss": to_config(loss),
            "data": [table.digest, table.target, table.features, table.roles.weight, table.counts],
            "booster": settings.booster_params(seed),
            "rounds": settings.rounds,
        }
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
        return cls(Path(FOLDER) / f"{table.name}-{loss.name}-{digest}.ubj", settings.rounds)

    def load(self) -> xgboost.Booster | None:
        """Load the booster to go on from; None where there is none.

        Of one that has all rounds the last is left out: it is trained again, as a run's record needs what
        it was.
        """
        if not self.path.is_file():
            return None
        booster = xgboost.Booster(model_file=self.path)
        done = min(booster.num_boosted_rounds(), self._rounds - 1)
        # [:0] would be all of them.
        return booster[:done] if done else None

    def save(self, booster: xgboost.Booster) -> None:
        """Keep a booster instead of the one before."""
        self.path.parent.mkdir(exist_ok=True)
        with write_atomically(self.path) as file:
            file.write_bytes(bytes(booster.save_raw("ubj")))

    def remove(self) -> None:
        """Remove the file, and the folder with the last one."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()
