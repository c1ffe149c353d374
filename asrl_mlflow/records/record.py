"""What trained a booster: written at its training, and from there to wherever a model may be met."""

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
from asrl_mlflow.losses import Loss, from_config, to_config
from asrl_mlflow.rounds import Round

SCHEMA = 1
# What a model needs where it is used; the rest of the environment is its user's.
PACKAGES = ("mlflow", "numpy", "pandas", "xgboost")
PREFIX = "asrl."


@dataclass(frozen=True)
class Record:
    """What trained a booster, as JSON types throughout.

    Parameters
    ----------
    loss : mapping
        As `losses.to_config` gives it.
    pointwise : mapping
        Thresholds and weights of the last round, in target units.
    rounds : int
        In the booster.
    base_score : float
        What boosting started from, in target units.
    weight_rule : str, optional
        How sample weights were read: "none", "counts" or "mean 1".
    objective_scale : float
        By which power of two objective and regularisation were scaled.
    data : mapping
        Name, digest, target and number of rows of the table.
    metrics : mapping
        On the test rows.
    packages : mapping
        Versions at training.
    schema : int
        Of this record.
    """

    loss: Mapping[str, Any]
    pointwise: Mapping[str, Any]
    rounds: int
    base_score: float
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
        loss: Loss,
        last: Round,
        data: Mapping[str, Any],
        metrics: Mapping[str, float],
    ) -> Record:
        """Of a booster that has just been trained and judged."""
        config = json.loads(booster.save_config())
        return cls(
            loss=to_config(loss),
            pointwise=dataclasses.asdict(last.pointwise),
            rounds=booster.num_boosted_rounds(),
            base_score=json.loads(config["learner"]["learner_model_param"]["base_score"])[0],
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
        """The record that `to_json` wrote.

        Raises
        ------
        InputError
            It has another schema, or is none.
        """
        try:
            found = json.loads(text)
            schema = found["schema"]
        except (ValueError, TypeError, KeyError) as error:
            msg = f"{owner}: needs the record of what trained it; got none that can be read."
            raise InputError(msg) from error
        if schema != SCHEMA or set(found) != {field.name for field in dataclasses.fields(cls)}:
            msg = (
                f"{owner}: its record must have schema {SCHEMA} and all its fields; got schema {schema!r}; "
                "use the asrl-mlflow that wrote it, or train anew."
            )
            raise InputError(msg)
        return cls(**found)

    def to_json(self) -> str:
        """The record for `loss.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def tags(self) -> dict[str, str]:
        """The record as keys and values that can be searched, and the whole of it under one key.

        Numbers have all their digits.
        """
        return {
            f"{PREFIX}schema": str(self.schema),
            f"{PREFIX}loss": self.loss["name"],
            **{f"{PREFIX}loss.{key}": repr(value) for key, value in self.loss["params"].items()},
            **{f"{PREFIX}final.{key}": repr(value) for key, value in self.pointwise.items()},
            f"{PREFIX}rounds": str(self.rounds),
            f"{PREFIX}base_score": repr(self.base_score),
            **{f"{PREFIX}data.{key}": str(value) for key, value in self.data.items()},
            **{f"{PREFIX}test.{key}": repr(value) for key, value in self.metrics.items()},
            **{f"{PREFIX}package.{key}": value for key, value in self.packages.items()},
            f"{PREFIX}record": json.dumps(dataclasses.asdict(self)),
        }

    def build_loss(self) -> Loss:
        """The loss itself."""
        return from_config(self.loss)
