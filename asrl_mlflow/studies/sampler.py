"""Choose the parameters of the next trial with TPE, so that a study can be repeated trial by trial.

Where several trials are under way, which of them have ended when the next one begins differs from run
to run. So a trial is chosen only by those that have certainly ended: their numbers lie far enough back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

SAMPLER: Mapping[str, Any] = {
    "n_startup_trials": 10,
    "n_ei_candidates": 24,
    "multivariate": True,
    "group": False,
    "constant_liar": True,
}
# How many trials may be under way. Studies are equal with any number of workers up to this one.
UNDER_WAY = 4

_JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)


class SeededTPE(BaseSampler):
    """TPE with a seed of its own for each trial, so that a restarted study goes on as without a restart.

    Parameters
    ----------
    seed : int, >= 0
        Of the study; the trial's number is added to it.
    space : mapping of str to distribution
        Where to search.
    under_way : int, >= 1
        How many trials may be under way; see `visible_trials`.
    """

    def __init__(
        self, seed: int, space: Mapping[str, BaseDistribution], under_way: int = UNDER_WAY
    ) -> None:
        self._seed, self._space, self._under_way = seed, dict(space), under_way

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 - Optuna's signature
        trial: FrozenTrial,  # noqa: ARG002 - Optuna's signature
    ) -> dict[str, BaseDistribution]:
        """All of the search space: every parameter is sampled together with the others."""
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample with TPE in a copy of the study that has only the trials visible to this one."""
        before = [each for each in study.get_trials(deepcopy=False) if each.number < trial.number]
        judged = visible_trials(before, trial.number, self._under_way)
        seeds = np.random.SeedSequence([self._seed, trial.number])
        same = optuna.create_study(
            sampler=TPESampler(seed=int(seeds.generate_state(1)[0]), **SAMPLER)
        )
        same.add_trials(judged)
        # Trials that lie nearer count as running, even where they have ended: TPE sees their points
        # but not their results.
        same.add_trials(
            create_trial(
                state=TrialState.RUNNING, params=each.params, distributions=each.distributions
            )
            for each in before
            if each.params
            and (each.number > trial.number - self._under_way or each.state == TrialState.RUNNING)
        )
        return same.ask(search_space).params

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 - Optuna's signature
        """Sample one parameter, where a queued point lacks it."""
        return self.sample_relative(study, trial, {param_name: param_distribution})[param_name]


def visible_trials(
    trials: Iterable[FrozenTrial], number: int, under_way: int = UNDER_WAY
) -> Sequence[FrozenTrial]:
    """Choose the complete and pruned trials that a trial may depend on, whichever worker is faster.

    Parameters
    ----------
    trials : iterable of FrozenTrial
        All trials of the study.
    number : int, >= 0
        Of the trial.
    under_way : int, >= 1
        How many trials may be under way. No trial begins before all that lie so many numbers back
        have ended.
    """
    return [each for each in trials if each.number <= number - under_way and each.state in _JUDGED]
