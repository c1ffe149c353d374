"""What to try next: TPE, told the same whenever it is asked, so that a study can be repeated.

Which trials have ended when the next one begins is a matter of luck where several are under way. So a
trial is told only of those that have certainly ended by then, because so many numbers lie between.
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
# How many trials may be under way: studies of up to so many workers are equal.
UNDER_WAY = 4

_JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)


class SeededTPE(BaseSampler):
    """TPE with a seed for each trial number: a restart neither repeats points nor depends on luck.

    Parameters
    ----------
    seed : int, >= 0
        With the number of the trial it makes the trial's own.
    space : mapping of name to distribution
        Where to search.
    under_way : int, >= 1
        How many trials may be under way; see `known`.
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
        """All of it."""
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does it in a study that has only what this trial may know."""
        before = [each for each in study.get_trials(deepcopy=False) if each.number < trial.number]
        judged = known(before, trial.number, self._under_way)
        seeds = np.random.SeedSequence([self._seed, trial.number])
        same = optuna.create_study(
            sampler=TPESampler(seed=int(seeds.generate_state(1)[0]), **SAMPLER)
        )
        same.add_trials(judged)
        # Those in between count as under way, whether or not they are: their points, not their ends.
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
        """Of one parameter, where a queued point lacks it."""
        return self.sample_relative(study, trial, {param_name: param_distribution})[param_name]


def known(
    trials: Iterable[FrozenTrial], number: int, under_way: int = UNDER_WAY
) -> Sequence[FrozenTrial]:
    """The verdicts that a trial may know of, however many workers there are and whoever is faster.

    Parameters
    ----------
    trials : iterable of FrozenTrial
        Of its study.
    number : int
        Its own.
    under_way : int
        How many trials may be under way: none is begun before all that lie so far back have ended.
    """
    return [each for each in trials if each.number <= number - under_way and each.state in _JUDGED]
