"""Workers of a collective of XGBoost's, as threads of this process."""

from __future__ import annotations

import threading

from xgboost import collective
from xgboost.tracker import RabitTracker


def run_ranks(count, work):
    """Call `work(rank)` on so many workers at once; give what each returned, or raise what one raised."""
    tracker = RabitTracker(n_workers=count, host_ip="127.0.0.1", sortby="task")
    tracker.start()
    found = [None] * count
    raised = []

    def run(rank):
        try:
            with collective.CommunicatorContext(**tracker.worker_args(), dmlc_task_id=f"{rank:03}"):
                found[rank] = work(rank)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread of the test
            raised.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    tracker.wait_for()
    return found
