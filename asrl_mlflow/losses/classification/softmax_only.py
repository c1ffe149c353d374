"""Losses that need one output a class, also for two classes."""

from __future__ import annotations

from typing import ClassVar

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.classification.loss import ClassificationLoss


class SoftmaxOnly(ClassificationLoss):
    """Mixed into losses that have no form for a single output; `FULL` names the class that has one."""

    FULL: ClassVar[str]

    def outputs(self, classes: int) -> int:
        """One for each class."""
        return classes

    def check_outputs(self, outputs: int) -> None:  # noqa: D102 - ClassificationLoss says it
        if outputs == 1:
            msg = (
                f"{type(self).__name__} needs one output for each class; got a single one, with which a "
                f"model that says class 1 of every row would be the best; use {self.FULL}."
            )
            raise InputError(msg)
