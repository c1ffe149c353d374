"""What a shell completes values of options with: names of losses, tables and registered models.

A shell that completes waits: models are looked up only where the store is a file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import click
import mlflow
from click.shell_completion import CompletionItem
from mlflow.entities.model_registry import RegisteredModel
from mlflow.environment_variables import MLFLOW_REGISTRY_URI, MLFLOW_TRACKING_URI

from asrl_mlflow.command_line.parsing import GROUPS
from asrl_mlflow.datasets.dataset import NAMED
from asrl_mlflow.losses import CLASSIFICATION_LOSSES, LOSSES
from asrl_mlflow.losses.regression.scale import AUTO
from asrl_mlflow.system.uris import SQLITE
from asrl_mlflow.tracking.store import DEFAULT_STORE

_MOST_MODELS = 100


def complete_loss(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of losses that begin so."""
    return _beginning(incomplete, [*LOSSES, AUTO, *CLASSIFICATION_LOSSES])


def complete_losses(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names between commas: the last one, of a loss that does not stand there yet."""
    before, comma, last = incomplete.rpartition(",")
    names = [*LOSSES, AUTO, *CLASSIFICATION_LOSSES, *([] if comma else GROUPS)]
    there = before.split(",")
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in names
        if name.startswith(last) and name not in there
    ]


def complete_data(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of tables that begin so, or files."""
    # First: bash forgets what stands before it.
    return [CompletionItem(incomplete, type="file"), *_beginning(incomplete, NAMED)]


def complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files."""
    return [CompletionItem(incomplete, type="file")]


def complete_model(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of registered models that begin so."""
    return _beginning(incomplete, [model.name for model in _models()])


def complete_model_uri(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Registered models by their aliases, those whose address begins so."""
    uris = [f"models:/{model.name}@{alias}" for model in _models() for alias in model.aliases]
    return _beginning(incomplete, uris)


def _beginning(incomplete: str, names: Sequence[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _models() -> Sequence[RegisteredModel]:
    """The registered models of a store that is a file; none where another is configured, or where it fails."""
    uri = MLFLOW_TRACKING_URI.get() or DEFAULT_STORE
    registry = os.environ.get(MLFLOW_REGISTRY_URI.name, uri)
    is_file = registry.startswith(SQLITE) and Path(registry.removeprefix(SQLITE)).is_file()
    if not is_file:
        return []
    # Whatever is said would stand in the middle of what is being typed.
    logging.disable()
    try:
        client = mlflow.MlflowClient(uri, registry)
        return client.search_registered_models(max_results=_MOST_MODELS)
    except Exception:  # noqa: BLE001 - every store fails in its own way, and nothing depends on it
        return []
    finally:
        logging.disable(logging.NOTSET)
