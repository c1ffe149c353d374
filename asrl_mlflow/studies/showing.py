"""Show the best trials of a study in a table, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from asrl_mlflow.cards import CardTable

# Attribute of a trial: its loss, as `losses.to_config` writes it.
LOSS = "asrl.loss"
_MOST = 10


def trials_table(trials: Sequence[FrozenTrial], objective: str) -> CardTable:
    """List the best complete trials, the parameters of their losses by their own names.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        Of one study; those that are not complete are left out.
    objective : str
        The heading of what they were judged by.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    shown = sorted(complete, key=lambda trial: (trial.values[0], trial.number))[:_MOST]
    values = [_values(trial) for trial in shown]
    names = list(dict.fromkeys(name for each in values for name in each))
    return CardTable(
        f"The best {len(shown)} of {len(complete)} complete trials",
        ["trial", objective, *names],
        [
            [str(trial.number), f"{trial.values[0]:.4g}", *(each.get(name, "") for name in names)]
            for trial, each in zip(shown, values, strict=True)
        ],
    )


def _values(trial: FrozenTrial) -> dict[str, str]:
    """The parameters of a trial's loss, then those of XGBoost, as text."""
    own = trial.user_attrs.get(LOSS, {}).get("params", {})
    # A gap stands for q_high.
    rest = {key: value for key, value in trial.params.items() if key not in (*own, "gap")}
    return {
        key: f"{value:.4g}" if isinstance(value, int | float) else str(value)
        for key, value in {**own, **rest}.items()
    }
