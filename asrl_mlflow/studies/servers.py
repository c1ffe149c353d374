"""A study's database server that goes away for a while: calls wait for it, and are made again."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

_logger = logging.getLogger(__name__)

# Shorter than a lease by more than the time between its renewals: where all wait for one server, none takes another
# for dead.
_SECONDS_OF_PATIENCE = 40.0
_SECONDS_BETWEEN_CALLS = 0.5
# A connection whose packets are dropped fails in 15 seconds, so that a call is made again in time.
_LIBPQ: Mapping[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,  # milliseconds
}
# These drivers have no more than time-outs of single reads and writes, which a lock may hold up too.
_MYSQL: Mapping[str, int] = {"connect_timeout": 10, "read_timeout": 30, "write_timeout": 30}
_TIMEOUTS: Mapping[str, Mapping[str, int]] = {
    "postgresql+psycopg": _LIBPQ,
    "postgresql+psycopg2": _LIBPQ,
    "mysql+pymysql": _MYSQL,
    "mysql+mysqldb": _MYSQL,
}
# Of libpq's environment, which counts where the address says nothing.
_VARIABLES = {"connect_timeout": "PGCONNECT_TIMEOUT"}
# The last is what Optuna's own second query meets, on the connection that its first one lost.
_AWAY = (OperationalError, InterfaceError, PendingRollbackError)


def timeouts(url: str) -> dict[str, int]:
    """When a connection counts as lost, as arguments of the driver; what the address itself says is left out.

    Without them a call waits for ever, or for a quarter of an hour, where a host or a firewall drops packets.

    Parameters
    ----------
    url : str
        As SQLAlchemy takes it.

    Examples
    --------
    >>> timeouts("mysql+pymysql://me@host/studies?read_timeout=5")
    {'connect_timeout': 10, 'write_timeout': 30}
    """
    address = sqlalchemy.make_url(url)
    driver = f"{address.get_backend_name()}+{address.get_driver_name()}"
    return {
        key: value
        for key, value in _TIMEOUTS.get(driver, {}).items()
        if key not in address.query and _VARIABLES.get(key, "") not in os.environ
    }


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
        # Connections are not tried before each call, which would be one more query: those that a restart has cut
        # are replaced when the first call on them is made again.
        settings = {"pool_pre_ping": False, "connect_args": timeouts(url)}
        super().__init__(url, engine_kwargs=settings)

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
    # From here: the first call may have taken a while to fail.
    deadline = time.monotonic() + _SECONDS_OF_PATIENCE
    is_said = False
    while True:
        try:
            return call()
        except (StorageInternalError, *_AWAY) as error:
            is_away = isinstance(error.__cause__ or error, _AWAY)
            if not is_away or time.monotonic() > deadline:
                raise
            if not is_said:
                is_said = True
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
