"""The record of how a booster was trained; it is kept in the run, in the model and in its tags."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xgboost

from asrl_mlflow.boosting.training import SCALE_ATTRIBUTE, WEIGHT_RULE_ATTRIBUTE
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import BaseLoss, from_config, loss_class, to_config
from asrl_mlflow.metrics import TASKS, Task
from asrl_mlflow.rounds import Round

SCHEMA = 1
# The packages that a model needs where it is used.
PACKAGES = ("mlflow", "numpy", "pandas", "xgboost")
PREFIX = "asrl."


@dataclass(frozen=True)
class Record:
    """How a booster was trained, in JSON types only.

    Parameters
    ----------
    loss : mapping
        The loss as `losses.to_config` returns it.
    pointwise : mapping of name to float
        Thresholds and weights of the last round, thresholds in target units; losses for classes have none,
        and of a booster that was saved without its training they are not known.
        Of several targets the names end in ".0", ".1", ...
    rounds : int, >= 1
        The number of rounds in the booster.
    base_score : float or list of float
        The constant that boosting started from, in target units; a list where there are several outputs.
    weight_rule : {"none", "counts", "mean 1"}, optional
        How sample weights were read.
    objective_scale : float
        The power of two by which objective and regularisation were scaled.
    data : mapping
        Name, digest, target and number of rows of the table, as far as they are known.
    metrics : mapping of metric name to float
        The metrics on the test rows; empty where there were none.
    packages : mapping of package name to version
        The installed versions at training.
    schema : int
        The version of this record's format.
    """

    loss: Mapping[str, Any]
    pointwise: Mapping[str, Any]
    rounds: int
    base_score: float | list[float]
    weight_rule: str | None
    objective_scale: float
    data: Mapping[str, Any]
    metrics: Mapping[str, float]
    packages: Mapping[str, str]
    schema: int = SCHEMA

    @classmethod
    def from_training(
        cls,
        booster: xgboost.Booster,
        loss: BaseLoss,
        last: Round | None,
        data: Mapping[str, Any],
        metrics: Mapping[str, float],
    ) -> Record:
        """Make the record of a booster; `last` is its last round, None where it is not known."""
        config = json.loads(booster.save_config())
        starts = json.loads(config["learner"]["learner_model_param"]["base_score"])
        return cls(
            loss=to_config(loss),
            pointwise=_pointwise(last),
            rounds=booster.num_boosted_rounds(),
            base_score=starts[0] if len(starts) == 1 else starts,
            weight_rule=booster.attr(WEIGHT_RULE_ATTRIBUTE),
            objective_scale=float(booster.attr(SCALE_ATTRIBUTE) or 1),
            data=data,
            metrics=metrics,
            packages={
                name: importlib.metadata.version(name) for name in ("asrl-mlflow", *PACKAGES)
            },
        )

    @classmethod
    def from_json(cls, text: str, owner: str) -> Record:
        """Read the record that `to_json` wrote.

        Parameters
        ----------
        text : str
            The JSON text.
        owner : str
            What the record belongs to, for the error.

        Raises
        ------
        InputError
            The text is no record, or a record with another schema.
        """
        try:
            found = json.loads(text)
            schema = found["schema"]
        except (ValueError, TypeError, KeyError) as error:
            msg = f"{owner}: needs the record of its training; got none that can be read; train it anew."
            raise InputError(msg) from error
        if schema != SCHEMA or set(found) != {field.name for field in dataclasses.fields(cls)}:
            msg = (
                f"{owner}: its record must have schema {SCHEMA} and all its fields; got schema {schema!r}; "
                "use the asrl-mlflow that wrote it, or train anew."
            )
            raise InputError(msg)
        return cls(**found)

    def to_json(self) -> str:
        """Write the record as JSON text, the content of `loss.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def tags(self) -> dict[str, str]:
        """Give the record as tags: a few to search by and to look at, and one with the whole record.

        Numbers keep all their digits.
        """
        measured = {self.task.default} & set(self.metrics)
        return {
            f"{PREFIX}loss": self.loss["name"],
            f"{PREFIX}data.name": str(self.data["name"]),
            **{f"{PREFIX}test.{name}": repr(self.metrics[name]) for name in measured},
            f"{PREFIX}rounds": str(self.rounds),
            f"{PREFIX}version": self.packages["asrl-mlflow"],
            f"{PREFIX}record": json.dumps(dataclasses.asdict(self)),
        }

    def params(self) -> dict[str, str]:
        """Give what trained the booster as params of a logged model, under the keys of runs."""
        return {
            "loss.name": self.loss["name"],
            **{f"loss.{key}": str(value) for key, value in self.loss["params"].items()},
            "booster.num_boost_round": str(self.rounds),
            **{
                f"data.{key}": str(self.data[key])
                for key in ("name", "target", "rows", "digest")
                if key in self.data
            },
        }

    def describe(self) -> str:
        """Say how good the booster is, in half a sentence; that it is not known where it was not measured.

        Numbers are for people.
        """
        metric, title = self.task.default, self.task.default_title
        if metric not in self.metrics:
            return "not measured on test rows"
        return f"test {title} {self.metrics[metric]:.4g}"

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds of the last round, in target units, as far as the loss has some and they are known."""
        names = ("delta", "delta_low", "delta_high")
        return {name: float(self.pointwise[name]) for name in names if name in self.pointwise}

    @property
    def outputs(self) -> int:
        """How many numbers the booster predicts for a row."""
        return len(self.base_score) if isinstance(self.base_score, list) else 1

    @property
    def task(self) -> Task:
        """What the loss learns, and its metrics."""
        return TASKS[loss_class(self.loss["name"]).task]

    def build_loss(self) -> BaseLoss:
        """Build the loss that the record describes."""
        return from_config(self.loss)


def _pointwise(last: Round | None) -> dict[str, Any]:
    """The numbers of a round's loss, or of each target's; none of a round that is not known."""
    if last is None:
        return {}
    if last.pointwise is not None:
        return dataclasses.asdict(last.pointwise)
    return {
        f"{name}.{number}": value
        for number, target in enumerate(last.targets)
        for name, value in dataclasses.asdict(target.pointwise).items()
    }
