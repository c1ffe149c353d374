"""Losses, robust ones above all: what one row costs, what it weighs, and how that follows the residuals.

Also the catalogue of losses: their names, their configs, and losses that users register. Imports
`residuals` and `errors`, and of other libraries numpy only.
"""

from __future__ import annotations

from asrl_mlflow.losses import catalogue
from asrl_mlflow.losses.catalogue import *  # noqa: F403 - a new loss is named in the catalogue only
from asrl_mlflow.losses.classification.loss import ClassificationLoss
from asrl_mlflow.losses.loss import BaseLoss, Formulas
from asrl_mlflow.losses.regression.loss import Loss
from asrl_mlflow.losses.regression.pointwise import PointwiseLoss
from asrl_mlflow.losses.statistics import Statistics

__all__ = ["BaseLoss", "ClassificationLoss", "Formulas", "Loss", "PointwiseLoss", "Statistics"]
__all__ += catalogue.__all__
