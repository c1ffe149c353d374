"""A study's database server that goes away for a while: calls wait for it, and are made again."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import InterfaceError, OperationalError

_logger = logging.getLogger(__name__)

# Shorter than a lease by more than the time between its renewals: where all wait for one server, none takes another
# for dead.
_SECONDS_OF_PATIENCE = 40.0
_SECONDS_BETWEEN_CALLS = 0.5
_AWAY = (OperationalError, InterfaceError)


class ServerStorage(RDBStorage):
    """Optuna's storage in the database of a server, which may be restarted while studies are worked on.

    A call that the server does not answer is made again until it has been away for 40 seconds. Where it had been
    carried out, and only its answer was lost, the second call changes nothing: attributes, steps and parameters are
    written over; a trial that was ended is found ended; a trial that nobody has heard of stays without an owner,
    and is given back like that of a process that died.

    Parameters
    ----------
    url : str
        As SQLAlchemy takes it.
    """

    def __init__(self, url: str) -> None:
        # Connections that a restart has cut are replaced, before anything is asked.
        super().__init__(url, engine_kwargs={"pool_pre_ping": True})

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """End a trial, or begin one that waits; see `optuna.storages.BaseStorage`."""
        calls = 0

        def once() -> bool:
            nonlocal calls
            calls += 1
            return super(ServerStorage, self).set_trial_state_values(trial_id, state, values)

        try:
            return bool(_patiently(once))
        except UpdateFinishedTrialError:
            trial = self.get_trial(trial_id)
            wanted = None if values is None else list(values)
            # It was ended so by the first call, whose answer was lost.
            if calls > 1 and (trial.state, trial.values) == (state, wanted):
                return True
            raise


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - those of any method
        return _patiently(functools.partial(method, *arguments, **named))

    return call


def _patiently(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is called
    """Call again while the server is away; then raise what the last call did."""
    deadline = None
    while True:
        try:
            return call()
        except (StorageInternalError, *_AWAY) as error:
            now = time.monotonic()
            if not isinstance(error.__cause__ or error, _AWAY) or now > (deadline or now):
                raise
            if deadline is None:
                deadline = now + _SECONDS_OF_PATIENCE
                _logger.warning(
                    "The storage of studies does not answer; it is waited for up to %g s.",
                    _SECONDS_OF_PATIENCE,
                )
        time.sleep(_SECONDS_BETWEEN_CALLS)


# Each opens one session: those of the interface, and those that they, or Optuna's cache before a database, call.
_CALLS = {
    "_create_new_trial",
    "_get_trials",
    "_set_trial_param",
    "get_trial_id_from_study_id_trial_number",
}
_CALLS |= BaseStorage.__abstractmethods__ - {"create_new_trial", "get_all_trials"}
for _name in sorted(_CALLS - vars(ServerStorage).keys()):
    setattr(ServerStorage, _name, _patient(getattr(RDBStorage, _name)))
