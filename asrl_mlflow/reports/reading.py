"""Read a run of compare, tune or main, and its children, from the tracking store."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import mlflow
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from asrl_mlflow.errors import InputError, StoreError
from asrl_mlflow.experiments.report import SECONDS
from asrl_mlflow.losses import from_config
from asrl_mlflow.metrics import TASKS, Task
from asrl_mlflow.records.artifacts import silence_mlflow
from asrl_mlflow.tracking.keys import FLOW_TAG, STUDY_TAG, TRIAL_TAG
from asrl_mlflow.tracking.retries import is_unanswered, limit_waiting, retry
from asrl_mlflow.tracking.spool import one_line

COMPARE, TUNE, MAIN = "compare", "tune", "main"
_MOST_A_PAGE = 1000
# A line of a figure needs no more points than a screen has room for.
_MOST_POINTS = 200

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class KeptRun:
    """A run as the store has it.

    Parameters
    ----------
    run : mlflow.entities.Run
        The run.
    """

    run: Run

    @property
    def run_id(self) -> str:
        """Its id."""
        return str(self.run.info.run_id)

    @property
    def params(self) -> Mapping[str, str]:
        """Its params."""
        return dict(self.run.data.params)

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""
        return dict(self.run.data.tags)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The last value of each of its metrics."""
        return dict(self.run.data.metrics)

    @property
    def task(self) -> Task | None:
        """What was learned; None where nothing was measured on test rows."""
        measured = (task for task in TASKS.values() if f"test.{task.default}" in self.metrics)
        return next(measured, None)

    @property
    def scores(self) -> dict[str, float]:
        """Its metrics on the test rows and the seconds of its training, as `report.scores` names them."""
        tests = {
            key.removeprefix("test."): value
            for key, value in self.metrics.items()
            if key.startswith("test.")
        }
        return {**tests, SECONDS: self.metrics.get("fit_seconds", float("nan"))}

    @property
    def seed(self) -> int:
        """The seed of its split."""
        return int(self.params.get("seed", 0))

    @property
    def label(self) -> str:
        """The name of its loss, as tables show it."""
        name = self.params.get("loss.name", "")
        fields = {
            key.removeprefix("loss."): _parse(value)
            for key, value in self.params.items()
            if key.startswith("loss.") and key != "loss.name"
        }
        try:
            return from_config({"name": name, "params": fields}).label
        except InputError:  # a user's own loss, which this process has not registered
            return name


@dataclass(frozen=True)
class KeptRuns:
    """A run of compare, tune or main with its children.

    Parameters
    ----------
    parent : KeptRun
        The run that the page is about.
    children : sequence of KeptRun
        Its child runs, in the order in which they began.
    """

    parent: KeptRun
    children: Sequence[KeptRun]

    @property
    def flow(self) -> str:
        """Which entry point made it."""
        return self.parent.tags[FLOW_TAG]

    @property
    def finished(self) -> list[KeptRun]:
        """The children that ended well and were measured on test rows."""
        return [each for each in self.children if each.run.info.status == "FINISHED" and each.task]


def read_runs(run_id: str) -> KeptRuns:
    """Read a run and its children.

    Parameters
    ----------
    run_id : str
        Of a run of compare, tune or main.

    Raises
    ------
    InputError
        The store has no such run, or it is another kind of run.
    StoreError
        The store does not answer.
    """
    client = mlflow.MlflowClient()
    parent = KeptRun(_ask(lambda: client.get_run(run_id), f"the run {run_id!r}"))
    _check_kind(parent)
    children = [KeptRun(each) for each in _children(parent)]
    return KeptRuns(parent, children)


def _children(parent: KeptRun) -> list[Run]:
    """Find all children of a run, in the order in which they began."""
    found: list[Run] = []
    token: str | None = None
    client, search = mlflow.MlflowClient(), f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.run_id}'"
    experiments = [parent.run.info.experiment_id]
    while True:
        call = partial(client.search_runs, experiments, search, max_results=_MOST_A_PAGE)
        page = _ask(partial(call, page_token=token), f"the children of run {parent.run_id!r}")
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda each: int(each.info.start_time))


def read_run(run_id: str) -> KeptRun:
    """Read one run, whatever its kind."""
    return KeptRun(_ask(lambda: mlflow.get_run(run_id), f"the run {run_id!r}"))


def read_curve(run: KeptRun, metric: str) -> list[tuple[int, float]]:
    """Read a metric round by round, as (round, value); of a long training evenly spaced rounds.

    Parameters
    ----------
    run : KeptRun
        The run that logged it.
    metric : str
        Its key.
    """
    client = mlflow.MlflowClient()
    history = _ask(
        lambda: client.get_metric_history(run.run_id, metric), f"the metric {metric} of a run"
    )
    points = sorted((each.step, each.value) for each in history)
    stride = -(-len(points) // _MOST_POINTS)
    kept = points[::stride] if stride else points
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def read_text(run: KeptRun, path: str) -> str:
    """Read a text among a run's artifacts; empty where it has none of that name."""
    client = mlflow.MlflowClient()
    listed = _ask(lambda: client.list_artifacts(run.run_id), "the artifacts of a run")
    if path not in {each.path for each in listed}:
        return ""
    with silence_mlflow():
        text: str = _ask(
            lambda: mlflow.artifacts.load_text(f"{run.run.info.artifact_uri}/{path}"), path
        )
    return text


def _check_kind(run: KeptRun) -> None:
    """Refuse runs that have no page of their own."""
    flow, tags = run.tags.get(FLOW_TAG, ""), run.tags
    compares = flow in (COMPARE, MAIN) and not {"losses", "preset"}.isdisjoint(run.params)
    if compares or (flow == TUNE and STUDY_TAG in tags and TRIAL_TAG not in tags):
        return
    outer = tags.get(MLFLOW_PARENT_RUN_ID)
    remedy = f"pass that of its parent, {outer}" if outer else "pass the id of one of these"
    msg = (
        "report needs the id of a run of compare, tune or main that holds others; got "
        f"{run.run_id}, {run.run.info.run_name!r}; {remedy}."
    )
    raise InputError(msg)


def _ask(call: Callable[[], Answer], what: str) -> Answer:
    """Call the store; report in one line what it does not have, or that it does not answer."""
    with limit_waiting():
        try:
            return retry(call)
        except Exception as error:
            if is_unanswered(error):
                msg = f"The tracking store must answer; got {one_line(error)}; try again."
                raise StoreError(msg) from error
            msg = (
                f"report needs {what} in this tracking store; got {one_line(error)}; set "
                "MLFLOW_TRACKING_URI to the store that has it."
            )
            raise InputError(msg) from error


def _parse(value: str) -> float | str:
    """Read a parameter of a loss from the text that the store has."""
    try:
        number: float = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    return number
