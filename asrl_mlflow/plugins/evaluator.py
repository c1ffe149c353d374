"""The evaluator `asrl` of `mlflow.models.evaluate`; MLflow loads this by an entry point.

Imported with `mlflow.models`: standard library only. What it does is in `evaluation`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

_MODEL_TYPES = ("regressor", "classifier")
# MLflow's function that asks every installed evaluator, where the user has named none.
_ASKS_ALL = "resolve_evaluators_and_configs"


class RobustEvaluator:
    """MLflow's `ModelEvaluator` that measures what outliers cannot spoil, for any model.

    Its base class is MLflow's, which may not be imported here; MLflow asks for the two methods only.

    Methods
    -------
    can_evaluate(model_type=..., evaluator_config=...)
        Whether it was named, for a regressor or classifier.
    evaluate(model=..., dataset=..., ...)
        Measure, draw and log.
    """

    @classmethod
    def can_evaluate(
        cls,
        *,
        model_type: str,
        evaluator_config: Mapping[str, Any],  # noqa: ARG003 - MLflow's signature
        **_more: object,
    ) -> bool:
        """Check whether it was asked for a model of this type.

        Where `evaluators` is left out, MLflow asks every evaluator that is installed. This one declines:
        it shall add nothing to the runs of those who do not name it. MLflow tells the two apart by nothing
        but the function that asks.

        Examples
        --------
        >>> RobustEvaluator.can_evaluate(model_type="regressor", evaluator_config={})
        True
        >>> RobustEvaluator.can_evaluate(model_type="retriever", evaluator_config={})
        False
        """
        caller = sys._getframe(1)  # noqa: SLF001 - `inspect`, which wraps it, takes long to import
        return model_type in _MODEL_TYPES and caller.f_code.co_name != _ASKS_ALL

    def evaluate(
        self,
        *,
        model_type: str,
        dataset: Any,  # noqa: ANN401 - MLflow's EvaluationDataset, which is not imported here
        run_id: str,
        evaluator_config: Mapping[str, Any],
        model: Any = None,  # noqa: ANN401 - MLflow's PyFuncModel, as above
        predictions: str | None = None,
        model_id: str | None = None,
        **_more: object,
    ) -> Any:  # noqa: ANN401 - MLflow's EvaluationResult, as above
        """Measure a model on a data set, and log metrics and figures to a run.

        Parameters
        ----------
        model_type : {"regressor", "classifier"}
            What it predicts.
        dataset : EvaluationDataset
            Features and targets, or predictions and targets.
        run_id : str
            The run to log to.
        evaluator_config : mapping
            As for `evaluation.Settings`.
        model : PyFuncModel, optional
            The model; without it the data set has predictions.
        predictions : str, optional
            The column of the model's output that is the prediction, where it has several.
        model_id : str, optional
            Of the logged model that metrics are linked to.

        Returns
        -------
        EvaluationResult or None
            None for a classifier without probabilities.
        """
        from asrl_mlflow.plugins.evaluation import Settings, evaluate  # noqa: PLC0415 - see the module

        return evaluate(
            model,
            dataset,
            model_type=model_type,
            run_id=run_id,
            settings=Settings.from_config(evaluator_config),
            column=predictions,
            model_id=model_id,
        )
