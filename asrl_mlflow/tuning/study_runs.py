"""The runs of a study: one parent, one for each trial, and Optuna's record as their truth."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from optuna.trial import FrozenTrial, TrialState

from asrl_mlflow import tracking
from asrl_mlflow.losses.search_space import Point
from asrl_mlflow.studies.study import ERROR, JUDGED, RUN_ID, SECONDS_OF_SILENCE, Study
from asrl_mlflow.system.processes import Owner, Watch
from asrl_mlflow.tracking.leftovers import LINK_TAG, REAPED_TAG, STUDY_TAG, owner_of, owner_tag
from asrl_mlflow.tracking.run_log import RunLog

TRIAL_TAG, PRUNED_TAG = "asrl.trial", "asrl.pruned"
OBJECTIVE = "objective"


def run_tags(study: Study) -> dict[str, str]:
    """Tags of a run of this process for a study."""
    return {STUDY_TAG: study.name, **owner_tag()}


class Runs:
    """The runs of a study's trials, held against Optuna's record.

    Parameters
    ----------
    study : Study
        Whose record is the truth.
    parent : str
        Id of its run.
    """

    def __init__(self, study: Study, parent: str) -> None:
        self._study, self._parent = study, parent
        self._silent = Watch(SECONDS_OF_SILENCE)

    def settle(self, mine: Collection[str] = ()) -> None:
        """End what dead processes left RUNNING, each run as its trial has ended.

        Parameters
        ----------
        mine : collection of run ids
            Runs that this process is at work on.
        """
        trials = None
        for run in tracking.running(self._parent):
            run_id, tags = run.info.run_id, run.data.tags
            if tags.get(STUDY_TAG) != self._study.name:
                continue
            if run_id in (self._parent, *mine) or not self._is_left(run_id, tags):
                continue
            if TRIAL_TAG not in tags:
                # Of a process that did not live to propose it as parent, or of `mlflow run`.
                log = RunLog(run_id)
                log.tags({REAPED_TAG: "true"})
                log.close("KILLED")
                tracking.discard(run_id, instead=self._parent)
                continue
            # Asked for here and not before: a trial may have ended since.
            trials = trials or {trial.number: trial for trial in self._study.trials()}
            self._end(run_id, trials.get(int(tags[TRIAL_TAG])))

    def _is_left(self, run_id: str, tags: Mapping[str, str]) -> bool:
        owner = owner_of(tags)
        if LINK_TAG in tags and owner is not None and owner.is_alive() is not False:
            return False  # MLflow ends it when its command does
        if owner is None or owner == Owner.here():
            return True
        alive = owner.is_alive()
        return self._silent.is_stale(run_id, None) if alive is None else not alive

    @staticmethod
    def _end(run_id: str, trial: FrozenTrial | None) -> None:
        log = RunLog(run_id)
        if trial is None or trial.user_attrs.get(RUN_ID) != run_id or _was_left(trial):
            log.tags({REAPED_TAG: "true"})
            log.close("KILLED")
        elif trial.state == TrialState.COMPLETE:
            log.metrics({OBJECTIVE: trial.values[0]})
            log.close("FINISHED")
        elif trial.state == TrialState.PRUNED:
            log.tags({PRUNED_TAG: "true"})
            log.close("KILLED")
        else:
            log.tags({ERROR: trial.user_attrs[ERROR]})
            log.close("FAILED")


def _was_left(trial: FrozenTrial) -> bool:
    return trial.state not in JUDGED and ERROR not in trial.user_attrs


@contextmanager
def parent_run(study: Study, starts: Sequence[Point], *, flow: str) -> Iterator[RunLog]:
    """The study's run, opened or opened again: one, however many processes ask for it.

    Parameters
    ----------
    study : Study
        Whose run it is.
    starts : sequence of points
        To queue where they are not yet.
    flow : str
        The entry point, for the tag `asrl.flow`.
    """
    name = f"tune {study.name}"
    with ExitStack() as stack:
        parent = study.parent()
        if parent is None:
            proposed = stack.enter_context(tracking.run(name, flow=flow, tags=run_tags(study)))
            parent = study.begin(proposed.run_id, starts)
            if parent == proposed.run_id:
                yield proposed
                return
            # Another process was first.
            stack.close()
            tracking.discard(proposed.run_id, instead=parent)
        else:
            study.begin(parent, starts)
        with tracking.run(name, flow=flow, run_id=parent, tags=run_tags(study)) as log:
            yield log
