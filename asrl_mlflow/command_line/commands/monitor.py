"""Whether a registered model is still right, on rows whose outcomes became known later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pandas as pd

from asrl_mlflow import registry, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_file, complete_model_uri
from asrl_mlflow.command_line.given import command_line, option
from asrl_mlflow.command_line.options import FIGURES, SIGNATURE, options
from asrl_mlflow.command_line.parsing import Share
from asrl_mlflow.command_line.process import CHANGED
from asrl_mlflow.command_line.running import end
from asrl_mlflow.datasets.names import check_columns_exist
from asrl_mlflow.datasets.roles import Roles
from asrl_mlflow.datasets.tables import list_columns, read_table
from asrl_mlflow.diagnosis.monitoring import FEATURE, Batch, Check, Reference, draw_batches, judge
from asrl_mlflow.errors import InputError, listed
from asrl_mlflow.figures.style import png
from asrl_mlflow.records.features import find_unknown
from asrl_mlflow.registry import OpenVersion, RegisteredVersion
from asrl_mlflow.tracking.keys import monitor_metrics, monitor_params

_FEWEST_ROWS = 20
_MOST_TOLD = 3


@click.command("monitor", cls=Command)
@options(
    (
        option(
            "--model-uri",
            shell_complete=complete_model_uri,
            help="A registered model: models:/<name>@<alias> or models:/<name>/<version>.",
        ),
        option(
            "--data",
            shell_complete=complete_file,
            help="Later rows: .csv, .parquet or a folder of .parquet files; with the target where it is known.",
        ),
        option(
            "--by", help="Column whose equal rows are a batch, a day say.  [default: all are one]"
        ),
        option(
            "--alarm-rate",
            type=Share(0, 1, min_open=True, max_open=True),
            default=0.01,
            help="How often a batch without any change may have an alarm.",
        ),
    ),
    SIGNATURE,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Compare later rows with those that a model was measured on; exit code 6 where they differ."""
    for name in ("model_uri", "data"):
        if values[name] is None:
            given = name.replace("_", "-")
            msg = f"monitor needs a model and later rows; got no --{given}; pass --{given}=."
            raise InputError(msg)
    tracking.connect(command=command_line())
    with registry.open_version(values["model_uri"], trusted=values["require_signature"]) as opened:
        version = opened.version
        if version.record.outputs > 1 and not version.record.data.get("classes"):
            msg = f"{version.uri}: monitor needs a model of one target; got one of {version.record.outputs}; monitor each alone."
            raise InputError(msg)
        features = [each["name"] for each in opened.columns]
        frame = _read(Path(values["data"]), version, features, values["by"])
        is_known = ~find_unknown(frame, opened.columns)
        errors, residual = _errors(frame, opened, is_known, values["data"])
        reference = _reference(opened, values["by"])
    batches = [
        judge(
            name,
            frame.iloc[rows],
            None if errors is None else errors[rows[is_known[rows]]],
            reference,
            None if residual is None else residual[rows[is_known[rows]]],
        )
        for name, rows in _split(frame, values["by"], values["data"])
    ]
    rate = values["alarm_rate"]
    context = f"{version.uri} on {values['data']}, an alarm by chance in {rate:g} of the batches"
    with tracking.run(f"monitor {version.name}", flow="monitor") as log:
        log.params(monitor_params(version.uri, values["data"], rate))
        for number, batch in enumerate(batches):
            log.step(number, _metrics(batch, rate))
        changed = [batch for batch in batches if batch.alarms(rate)]
        unknown = int((~is_known).sum())
        counts = {"batches": len(batches), "alarms": len(changed), "rows_unknown": unknown}
        log.metrics(monitor_metrics(counts))
        log.table("monitor.json", _columns(batches, rate))
        log.describe(
            f"{len(changed)} of {len(batches)} batches of `{values['data']}` differ from what `{version.uri}` "
            "was measured on."
        )
        if values["figures"]:
            log.artifact("figures/monitor.png", png(draw_batches(batches, rate, context)))
    click.echo(f"{version.uri}: {version.record.build_loss()}, {version.record.describe()}\n")
    click.echo("\n".join(_table(batches, rate)))
    if errors is None:
        click.echo(
            f"\nNo column {version.record.data['target']!r}: only features were compared, no outcomes."
        )
    if unknown:
        click.echo(
            f"\n{unknown} of {len(frame)} rows have a category that the training had not: the model predicts none of "
            "them, and only their features were compared."
        )
    code = end(log)
    # What a scheduler asks for comes before what the store did not take, which has its own line.
    return CHANGED if changed else code


def _read(
    path: Path, version: RegisteredVersion, features: Sequence[str], by: str | None
) -> pd.DataFrame:
    """The columns that the model knows, the batches as they are in the file, and the target if it is there."""
    data, names = version.record.data, list_columns(path)
    if by is not None:
        check_columns_exist([by], names, path)
    needed = set(features)
    if not needed <= set(names):
        # That of a model which learned from an array, say, whose columns have no names.
        msg = (
            f"{path}: monitor needs the columns that {version.uri} knows, {listed(sorted(needed))}; got a table without "
            f"{listed(sorted(needed - set(names)))}; name them so."
        )
        raise InputError(msg)
    needed |= {name for name in (data["target"], by) if name is not None}
    target = data["target"] if data["target"] in names else None
    roles = Roles(target, time=by, drop=tuple(name for name in names if name not in needed))
    frame = read_table(path, roles, labels=bool(data.get("classes")))
    if len(frame) < _FEWEST_ROWS:
        msg = (
            f"{path}: monitor needs at least {_FEWEST_ROWS} rows; got {len(frame)}; wait for more."
        )
        raise InputError(msg)
    if by is not None and frame[by].isna().any():
        msg = f"{path}: monitor needs a batch for every row; got rows without one in {by!r}; fill them in."
        raise InputError(msg)
    return frame


def _errors(
    frame: pd.DataFrame,
    opened: OpenVersion,
    is_known: npt.NDArray[np.bool_],
    data: str,
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]:
    """The errors of the rows as the loss measures them, and residuals where the target is a number.

    Both are missing in rows that the model cannot predict.
    """
    version = opened.version
    classes, target = version.record.data.get("classes", []), version.record.data["target"]
    if target not in frame:
        return None, None
    if frame[target].isna().any():
        count = int(frame[target].isna().sum())
        msg = f"{data}: needs the target {target!r} in every row or in none; got {count} without; leave them out."
        raise InputError(msg)
    if not classes:
        outcome = frame[target].to_numpy(np.float64)
    else:
        codes = pd.Index(classes).get_indexer(pd.Index(frame[target].astype(object)))
        if (codes < 0).any():
            msg = f"{data}: needs classes that {version.uri} knows, {listed(classes)}; got others in {target!r}."
            raise InputError(msg)
        outcome = codes.astype(np.float64)
    errors, residual = np.full((2, len(frame)), np.nan)
    if is_known.any():
        features = [each["name"] for each in opened.columns]
        predicted = opened.predict_rows(frame.loc[is_known, features], data)
        outcome = outcome[is_known]
        errors[is_known] = version.record.build_loss().row_errors(outcome, predicted)
        if not classes:
            residual[is_known] = outcome - predicted
    return errors, None if classes else residual


def _reference(opened: OpenVersion, by: str | None) -> Reference:
    """What the version was measured on."""
    version, unseen = opened.version, opened.unseen_residuals()
    # Those that calibrate intervals; where training used them up, those of the test rows.
    calibration = unseen.calibration
    known = calibration.errors if calibration.errors.size else unseen.test
    features = dict(opened.distribution)
    # What batches are made by differs from batch to batch.
    features.pop(by or "", None)
    reference = Reference(known, version.record.thresholds, features, residual=calibration.residual)
    if not known.size and not reference.features:
        msg = (
            f"{version.uri}: monitor needs a model with rows that it did not learn from; got one without; "
            "register a run of train, compare, tune or main, or an estimator with interval_folds."
        )
        raise InputError(msg)
    return reference


def _split(
    frame: pd.DataFrame, by: str | None, data: str
) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """The batches with their rows, in the order of the column."""
    if by is None:
        return [(Path(data).stem, np.arange(len(frame)))]
    groups = frame.groupby(by, sort=True, observed=True).indices
    return [(_name_of(key), np.asarray(rows, np.int64)) for key, rows in groups.items()]


def _name_of(key: object) -> str:
    """A batch's name: whole numbers without a point, days without an hour."""
    if isinstance(key, float) and key.is_integer():
        return str(int(key))
    return str(key).removesuffix(" 00:00:00")


def _metrics(batch: Batch, rate: float) -> dict[str, float]:
    """What is told of a batch by metrics; features are told in the table, as not every name can be a metric's."""
    alarms = batch.alarms(rate)
    return monitor_metrics(
        {
            **{
                check.name: check.observed
                for check in batch.checks
                if not check.name.startswith(FEATURE)
            },
            "rows": batch.rows,
            "changed": len(alarms),
            "changed_features": sum(check.name.startswith(FEATURE) for check in alarms),
        }
    )


def _columns(batches: Sequence[Batch], rate: float) -> dict[str, list[Any]]:
    """Every check of every batch, for MLflow's view of tables."""
    rows = [
        (batch, check, check in batch.alarms(rate)) for batch in batches for check in batch.checks
    ]
    return {
        "batch": [batch.name for batch, _, _ in rows],
        "rows": [batch.rows for batch, _, _ in rows],
        "check": [check.name for _, check, _ in rows],
        "expected": [check.expected for _, check, _ in rows],
        "observed": [check.observed for _, check, _ in rows],
        "p_value": [check.p_value for _, check, _ in rows],
        "alarm": [alarm for _, _, alarm in rows],
    }


def _table(batches: Sequence[Batch], rate: float) -> list[str]:
    """A line a batch: what changed most, or that nothing did."""
    width = max(len("batch"), *(len(batch.name) for batch in batches))
    lines = [f"{'batch':{width}} {'rows':>7}  changed"]
    for batch in batches:
        alarms = batch.alarms(rate)
        # Causes before what they lead to; the sort is stable.
        alarms.sort(key=lambda check: not check.name.startswith(FEATURE))
        told = ", ".join(map(_tell, alarms[:_MOST_TOLD]))
        more = f", and {len(alarms) - _MOST_TOLD} more" if len(alarms) > _MOST_TOLD else ""
        lines.append(f"{batch.name:{width}} {batch.rows:>7}  {told or '-'}{more}")
    return lines


def _tell(check: Check) -> str:
    """What has changed: a share and what it should be, or a stability index."""
    if check.expected:
        return f"{check.name} {check.observed:.1%} (expected {check.expected:.1%}, p {check.p_value:.1g})"
    return f"{check.name} (stability index {check.observed:.2f}, p {check.p_value:.1g})"
