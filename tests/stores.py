"""What a tracking store holds, as tests look at it."""

from __future__ import annotations


def runs(store):
    """All runs of the store as (parent, children): the parent is the run without one."""
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    found = store.search_runs(experiments)
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in found if run not in parents]


def artifacts(store, run_id, path=None):
    found = []
    for item in store.list_artifacts(run_id, path):
        found += artifacts(store, run_id, item.path) if item.is_dir else [item.path]
    return sorted(found)


def newest(store):
    experiment = store.get_experiment_by_name("asrl-mlflow").experiment_id
    return store.search_runs([experiment])[0].info.run_id
