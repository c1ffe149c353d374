"""Open the runs of a study, one parent and one for each trial, and end those of killed processes.

Optuna's record is the truth: a run ends with the status of its trial.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState

from asrl_mlflow import tracking
from asrl_mlflow.losses.search_space import Point
from asrl_mlflow.studies.leases import ERROR, SECONDS_OF_SILENCE
from asrl_mlflow.studies.study import JUDGED, RUN_ID, Study
from asrl_mlflow.system.processes import Owner, Watch
from asrl_mlflow.tracking.keys import (
    LINK_TAG,
    PRUNED_TAG,
    REAPED_TAG,
    STUDY_TAG,
    TRIAL_TAG,
    owner_tags,
    read_owner,
)
from asrl_mlflow.tracking.run_log import RunLog

OBJECTIVE = "objective"


def run_tags(study: Study) -> dict[str, str]:
    """Tags of a run that this process opens for a study."""
    return {STUDY_TAG: study.name, **owner_tags()}


@dataclass(frozen=True)
class StudyRuns:
    """The runs of a study, which are compared with Optuna's record.

    Parameters
    ----------
    study : Study
        Whose runs they are.
    parent : RunLog
        Log of its parent run.
    """

    study: Study
    parent: RunLog
    _runs_seen: Watch = field(default_factory=lambda: Watch(SECONDS_OF_SILENCE))

    def end_abandoned(self, mine: Collection[str] = ()) -> None:
        """End the runs whose processes are gone, each with the status of its trial.

        Parameters
        ----------
        mine : collection of str
            Ids of runs that this process works on.
        """
        trials = None
        for run in tracking.find_open_runs(self.parent):
            run_id, tags = run.info.run_id, run.data.tags
            if tags.get(STUDY_TAG) != self.study.name:
                continue
            if run_id in (self.parent.run_id, *mine) or not self._is_abandoned(run_id, tags):
                continue
            if TRIAL_TAG not in tags:
                # Of a process that died before it could propose it as the parent, or of `mlflow run`.
                log = RunLog(run_id)
                log.tags({REAPED_TAG: "true"})
                log.close("KILLED")
                tracking.discard_run(log, instead=self.parent.run_id)
                continue
            # Read after the search for open runs: a trial may have ended before it.
            trials = trials or {trial.number: trial for trial in self.study.trials()}
            _end_as_trial(run_id, trials.get(int(tags[TRIAL_TAG])))

    def _is_abandoned(self, run_id: str, tags: Mapping[str, str]) -> bool:
        owner = read_owner(tags)
        if LINK_TAG in tags and owner is not None and owner.is_alive() is not False:
            return False  # MLflow ends it when its command ends
        if owner is None or owner == Owner.here():
            return True
        is_alive = owner.is_alive()
        return self._runs_seen.is_stale(run_id, None) if is_alive is None else not is_alive


def _end_as_trial(run_id: str, trial: FrozenTrial | None) -> None:
    """End the run of a killed process with the status that its trial has in Optuna's record."""
    log = RunLog(run_id)
    if trial is None or trial.user_attrs.get(RUN_ID) != run_id or _was_given_back(trial):
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


def _was_given_back(trial: FrozenTrial) -> bool:
    return trial.state not in JUDGED and ERROR not in trial.user_attrs


@contextmanager
def parent_run(study: Study, starts: Sequence[Point], *, flow: str) -> Iterator[RunLog]:
    """Open the parent run of a study, or open it again: there is one, however many processes ask.

    Parameters
    ----------
    study : Study
        Whose run it is.
    starts : sequence of points
        To queue unless they are queued.
    flow : str
        The entry point, for the tag `asrl.flow`.
    """
    name = f"tune {study.name}"
    with ExitStack() as stack:
        parent = study.parent()
        if parent is None:
            proposed = stack.enter_context(tracking.run(name, flow=flow, tags=run_tags(study)))
            parent = study.set_up(proposed.run_id, starts)
            if parent == proposed.run_id:
                yield proposed
                return
            # Another process has proposed its run first.
            stack.close()
            tracking.discard_run(proposed, instead=parent)
        else:
            study.set_up(parent, starts)
        with tracking.run(name, flow=flow, run_id=parent, tags=run_tags(study)) as log:
            yield log
