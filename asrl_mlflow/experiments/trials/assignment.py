"""One trial as it is given to a worker, and what the worker tells while it works on it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.trials.judging import Judge, Pruned
from asrl_mlflow.losses import (
    BaseLoss,
    from_config,
    import_path,
    is_built_in,
    register_from,
    to_config,
)

# What is told of a trial: ("rounds", [(number, metrics), ...]) and ("step", step, value), and at the end
# ("done", verdict), ("pruned",) or ("failed", why).
Message = tuple[Any, ...]
ENDS = ("done", "pruned", "failed")

_SECONDS_BETWEEN_ROUNDS = 0.3


@dataclass(frozen=True)
class Assignment:
    """A trial to judge, in values that any process can read.

    Parameters
    ----------
    loss : mapping
        Its loss, as `losses.to_config` writes it.
    params : mapping of str to object
        XGBoost's parameters of this trial.
    limits : mapping of int to float
        By step of `Contest.steps`, the value above which the trial is pruned; none at other steps. They come
        with the trial, so that its worker waits for nobody.
    path : str, optional
        Where the class of a user's own loss is imported from.
    """

    loss: Mapping[str, Any]
    params: Mapping[str, Any]
    limits: Mapping[int, float] = field(default_factory=dict)
    path: str | None = None

    @classmethod
    def of(
        cls, loss: BaseLoss, params: Mapping[str, Any], limits: Mapping[int, float]
    ) -> Assignment:
        """Assign a loss.

        Raises
        ------
        InputError
            The loss is a user's own, and no other process could import its class.
        """
        kind = type(loss)
        path = None if is_built_in(kind) else import_path(kind)
        return cls(to_config(loss), dict(params), dict(limits), path)

    def work(self, judge: Judge, tell: Callable[[Message], object]) -> None:
        """Judge the trial, and tell what `Message` says; the last message ends it.

        Parameters
        ----------
        judge : Judge
            Of the study.
        tell : callable
            Called with each message. It raises OSError where nobody listens any more.
        """
        rounds: list[tuple[int, Mapping[str, float]]] = []
        told = time.monotonic()

        def tell_rounds() -> None:
            nonlocal told
            tell(("rounds", list(rounds)))
            rounds.clear()
            told = time.monotonic()

        def on_round(number: int, metrics: Mapping[str, float]) -> None:
            rounds.append((number, metrics))
            # Several in one message: each message takes time of whoever listens.
            if time.monotonic() - told > _SECONDS_BETWEEN_ROUNDS:
                tell_rounds()

        def keep(step: int, value: float) -> bool:
            tell(("step", step, value))
            return value <= self.limits.get(step, math.inf)

        end: Message
        try:
            if self.path is not None:
                register_from(self.path)
            end = ("done", judge.judge(from_config(self.loss), self.params, on_round, keep))
        except OSError:
            # Not of the trial: nobody listens.
            raise
        except Pruned:
            end = ("pruned",)
        except Exception as error:  # noqa: BLE001 - one trial's failure is not the study's
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            end = ("failed", f"{kind}{error}")
        tell_rounds()
        tell(end)
