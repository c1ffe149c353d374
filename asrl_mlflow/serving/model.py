"""The model that MLflow loads. A copy of this file is logged with every model and run from there.

So it imports only what a served model needs, and nothing of asrl_mlflow.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

# How our errors begin: `serving/server.py` shows these to clients, other errors may contain data.
ERROR_PREFIX = "Model input: "
# What pandas calls a column of Python objects that are all numbers.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty"}
# From so many trees times rows on, several threads are faster than one. Below, threads wait for each
# other: on busy cores a hundred times as long as one thread would take.
_VISITS_FOR_THREADS = 10_000_000
_MOST_NAMES = 5
# Probabilities are held above these, as where the losses are defined.
_MOST_U, _LEAST_P, _TINY = 30.0, float(np.exp(-30.0)), 1e-300

Matrix = npt.NDArray[np.float32]


class ServedModel(PythonModel):
    """A booster that takes columns by name, with numbers of any type.

    Methods
    -------
    predict(context, model_input, params=None)
        Predict, in target units; of classes the most probable one and the probability of each.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the booster, its columns and its calibration residuals; none of the files is code or a pickle."""
        files = {name: Path(path) for name, path in context.artifacts.items()}
        self._booster, self._alone = _with_threads(xgboost.Booster(model_file=files["booster"]))
        columns = json.loads(files["features"].read_text())
        self._features = columns["features"]
        # Of a booster that learned from an array, which has no names.
        self._is_by_place = columns.get("unnamed", False)
        self._missing = columns.get("missing")
        with np.load(files["errors"], allow_pickle=False) as errors:
            found = {False: errors["calibration"]}
            # Of classes, and of few rows, no spread was learned.
            if "spread" in errors:
                found[True] = errors["relative"]
                spread = bytearray(errors["spread"].tobytes())
                self._spread, self._spread_alone = _with_threads(xgboost.Booster(model_file=spread))
            is_right = ~errors["is_outlier"]
        # By whether they are adaptive, and clean.
        self._errors = {(key, False): np.sort(each) for key, each in found.items()}
        self._errors |= {(key, True): np.sort(each[is_right]) for key, each in found.items()}
        record = json.loads(files["loss"].read_text())
        self._loss = record["loss"]
        self._classes: list[Any] = record["data"].get("classes", [])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> npt.NDArray[np.float32] | pd.DataFrame:
        """Predict, one number or class a row.

        Parameters
        ----------
        context : PythonModelContext
            Not used.
        model_input : DataFrame of shape (n, features or more)
            Columns by name, in any order; others are ignored. Where the booster learned from an array, also
            columns of other names in their order. Numbers and booleans of any type;
            None, NaN and NA are missing values. Categories as text or whole numbers.
        params : dict, optional
            {"interval": level}, or for classes {"set": level}; level in (0, 1). With an interval "clean": True
            gives intervals of right targets, "adaptive": True intervals that are wider where residuals are.

        Returns
        -------
        float32 array of shape (n,), or DataFrame
            In target units. With an interval a frame with columns prediction, lower, upper. For classes a
            frame with columns prediction (the class) and probability_<class>; with a set also
            in_set_<class>, True where the class belongs to it.

        Raises
        ------
        MlflowException
            A column is missing, text where numbers are needed, or infinite; a category is unknown; a
            level is outside (0, 1); the model has no rows to calibrate by, or learned no spread. The line
            shows no data.

        Notes
        -----
        Intervals are split-conformal: prediction plus and minus the absolute residual of rank
        ceil((n + 1) level) among n rows, each predicted by a booster that did not learn from it;
        infinite where that rank exceeds n. For new rows like those the target lies inside with
        probability of about the level, on average over such rows: not for each kind of row, and not
        after a drift. (At least the level is proven for rows kept aside, as those of `train`. Out-of-fold
        rows of a tuned model have helped to choose a few numbers.) Where targets of
        those rows are spoiled, so are the residuals: what holds is coverage of targets spoiled
        alike, and clean ones are covered more often (wider than needed). Out-of-fold residuals are
        those of boosters that learned from fewer rows, so that intervals are wider rather than
        narrower. Weights are not supported: every row counts once.

        Clean intervals leave the residuals of gross outliers out, which were found when the model was
        trained, so that about the level of right targets lies inside. That is an estimate: nothing
        is proven about it.

        Adaptive intervals take for each residual its ratio to the spread that is expected of its row, and
        multiply the ratio of that rank by the spread that is expected of the new row.

        Sets of classes are made by the same rule, with minus the logarithm of a class's probability for
        the residual: a class belongs to the set unless it is less probable than that. The predicted class
        always belongs to it; every class does where there are too few rows to calibrate by.
        """
        matrix = self._to_matrix(model_input)
        visits = len(matrix) * self._booster.num_boosted_rounds()
        booster = self._booster if visits >= _VISITS_FOR_THREADS else self._alone
        found: Matrix = booster.inplace_predict(
            matrix, validate_features=False, predict_type="margin"
        )
        given = params or {}
        if self._classes:
            return self._predict_classes(found, given)
        level = given.get("interval")
        if level is None:
            for name in ("clean", "adaptive"):
                if given.get(name):
                    rule = f"{name} is about intervals"
                    raise _input_error(rule, "no interval", "pass one, 0.9 say")
            return found
        half = self._half_widths(matrix, level, given)
        prediction = found.astype(np.float64)
        return pd.DataFrame(
            {"prediction": prediction, "lower": prediction - half, "upper": prediction + half}
        )

    def contributions(self, model_input: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Compute what each feature adds to each prediction: SHAP values, exact ones of the trees.

        Parameters
        ----------
        model_input : DataFrame of shape (n, features or more)
            As for `predict`.

        Returns
        -------
        float32 array of shape (n, features + 1) or (n, K, features + 1)
            In target units, for classes in margins; the last column is the same for all rows, and a row's
            sum is its prediction.
        """
        types = self._booster.feature_types
        matrix = xgboost.DMatrix(
            self._to_matrix(model_input), feature_types=types, enable_categorical=True
        )
        found: npt.NDArray[np.float32] = self._booster.predict(
            matrix, pred_contribs=True, validate_features=False
        )
        return found

    def _to_matrix(self, model_input: Any) -> Matrix:  # noqa: ANN401 - frame or array
        """Read a table into numbers, in the order of the features; refuse what cannot be read."""
        names = [each["name"] for each in self._features]
        model_input = self._with_names(model_input, names)
        twice = model_input.columns[model_input.columns.duplicated()]
        if not twice.intersection(names).empty:
            rule = f"needs the column {twice.intersection(names)[0]!r} once"
            raise _input_error(rule, "it stands there more than once", "leave one")
        missing = [name for name in names if name not in model_input]
        if missing:
            noun, it = ("columns", "them") if len(missing) > 1 else ("column", "it")
            rule = f"needs the {noun} {_list_names(missing)}"
            remedy = f"send every column that it learned from: {_list_names(names)}"
            raise _input_error(rule, f"a table without {it}", remedy)
        matrix = np.empty((len(model_input), len(self._features)), np.float32, order="F")
        for place, feature in enumerate(self._features):
            matrix[:, place] = _to_float32(model_input[feature["name"]], feature)
        if self._missing is not None:
            matrix[matrix == np.float32(self._missing)] = np.nan
        return matrix

    def _with_names(self, given: Any, names: list[str]) -> pd.DataFrame:  # noqa: ANN401 - frame or array
        """Give the columns names that are text; by their places where the booster learned from an array."""
        table = given if isinstance(given, pd.DataFrame) else pd.DataFrame(given)
        if not all(isinstance(each, str) for each in table.columns):
            table = table.set_axis([str(each) for each in table.columns], axis=1)
        if not self._is_by_place or table.columns.isin(names).any():
            return table
        if len(table.columns) != len(names):
            rule = f"needs {len(names)} columns, in their order"
            raise _input_error(rule, str(len(table.columns)), "send as many")
        return table.set_axis(names, axis=1)

    def _predict_classes(self, margin: Matrix, params: dict[str, Any]) -> pd.DataFrame:
        """Give the most probable class of each row, the probability of each class, and sets if asked."""
        if not len(margin):
            shares = np.empty((0, len(self._classes)))
        else:
            shares = probabilities(self._loss, margin)
        labels = np.asarray(self._classes)[shares.argmax(axis=1)]
        columns = {"prediction": labels}
        columns |= {f"probability_{each}": shares[:, at] for at, each in enumerate(self._classes)}
        level = params.get("set")
        if level is not None:
            # As in the calibration rows: a probability under float64's eps counts as that.
            cost = -np.log(np.maximum(shares, np.finfo(np.float64).eps))
            inside = cost <= self._half_width(level, "set", self._errors[False, False])
            # Else a set would be empty where the model is least sure.
            inside[np.arange(len(shares)), shares.argmax(axis=1)] = True
            columns |= {f"in_set_{each}": inside[:, at] for at, each in enumerate(self._classes)}
        return pd.DataFrame(columns)

    def _half_widths(self, matrix: Matrix, level: float, params: dict[str, Any]) -> Any:  # noqa: ANN401 - a number, or one a row
        """Find half the widths of the intervals of rows, in target units."""
        is_adaptive, is_clean = (bool(params.get(name)) for name in ("adaptive", "clean"))
        errors = self._errors.get((is_adaptive, is_clean))
        if errors is None:
            rule = "adaptive intervals need a model that learned the spread of its residuals"
            remedy = "leave adaptive out, or train on more rows, without early stopping"
            raise _input_error(rule, "one without", remedy)
        half = self._half_width(level, "interval", errors)
        if not is_adaptive:
            return half
        visits = len(matrix) * self._spread.num_boosted_rounds()
        booster = self._spread if visits >= _VISITS_FOR_THREADS else self._spread_alone
        spread = booster.inplace_predict(matrix, validate_features=False)
        return half * np.exp(spread.astype(np.float64))

    def _half_width(self, level: float, what: str, errors: npt.NDArray[np.float64]) -> float:
        """Find half the width of the intervals, in target units; of sets, the largest cost of a class."""
        if not 0 < level < 1:
            rule = f"{what} must be a level in (0, 1)"
            raise _input_error(rule, str(level), "pass 0.9, say")
        count = len(errors)
        if not count:
            raise _input_error(
                "intervals need rows that training did not see",
                "a model without any, as early stopping used its validation rows",
                "register a tuned model, train without --early-stopping-rounds, or fit with interval_folds",
            )
        # A rounding error in the level must not raise a whole rank by one.
        rank = max(1, math.ceil(round((count + 1) * level, 9)))
        return float(errors[rank - 1]) if rank <= count else math.inf


def probabilities(loss: dict[str, Any], margin: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Correct what margins say for the loss, as `asrl_mlflow.losses` does; a test holds both equal.

    Parameters
    ----------
    loss : dict
        Its config.
    margin : array of shape (n,) or (n, K)
        Sums of the leaves.

    Returns
    -------
    float64 array of shape (n, K)
        Probabilities of the classes.
    """
    name, params, z = loss["name"], loss["params"], margin.astype(np.float64)
    if z.ndim == 1:
        alpha = params.get("alpha")
        balance = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
        pulls = [times * _pull(name, params, s) for times, s in zip(balance, (z, -z), strict=True)]
        total = np.maximum(pulls[0] + pulls[1], _TINY)
        return np.stack([each / total for each in pulls], axis=1)
    raised = np.exp(z - z.max(axis=1, keepdims=True))
    p = raised / raised.sum(axis=1, keepdims=True)
    if name in ("full_m", "full_l"):
        p = np.clip(p, 1e-13, 1 - 1e-13)
        rising, falling = _slope(name, params, 1 - p, p), _slope(name, params, p, 1 - p)
        both = rising + falling
        level = ((rising / both).sum(1, keepdims=True) - 1) / (1 / both).sum(1, keepdims=True)
        raised = np.clip((rising - level) / both, 0, 1)
    else:
        p = np.maximum(p, _LEAST_P)
        q = np.maximum(1 - p, np.finfo(np.float64).eps)
        pull = np.maximum(_first(name, params, -np.log(p), p, q), _TINY)
        raised = p * (pull.min(axis=1, keepdims=True) / pull)
    shares: npt.NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _pull(name: str, params: dict[str, Any], s: npt.NDArray[np.float64]) -> Any:  # noqa: ANN401 - an array
    """How hard a row of class 1 pulls whose single margin is s."""
    if name == "squared_hinge":
        return 2 * np.maximum(1 - s, 0)
    if name == "smooth_hinge":
        return np.minimum(np.maximum(1 - s, 0) / params["gamma"], 1)
    small = np.exp(-np.abs(s))
    p, q = (np.where(far, 1.0, small) / (1 + small) for far in (s >= 0, s <= 0))
    u = np.minimum(np.log1p(small) + np.maximum(-s, 0), _MOST_U)
    return _first(name, params, u, np.maximum(p, _LEAST_P), np.maximum(q, _TINY)) * q


def _slope(name: str, params: dict[str, Any], p: Any, q: Any) -> Any:  # noqa: ANN401 - arrays
    return _first(name, params, -np.log(p), p, q) / p


def _first(name: str, params: dict[str, Any], u: Any, p: Any, q: Any) -> Any:  # noqa: ANN401 - arrays
    """The derivative of a loss by u = -log p, with q = 1 - p."""
    if name == "poly1":
        return 1 + params["epsilon"] * p
    if name == "focal":
        near = np.where(q < 1e-8, 1 + q / 2, u / q)  # noqa: PLR2004 - rounding leaves nothing there
        return q ** params["gamma"] * (1 + params["gamma"] * p * near)
    if name == "generalized_cross_entropy":
        return p ** params["q"]
    if name in ("m_loss", "full_m"):
        return 1 / p
    if name in ("l_loss", "full_l"):
        return q * p**-0.5 * (1 + q) ** -1.5
    return np.ones_like(p)  # log loss, whose margins need no correction


def _with_threads(booster: xgboost.Booster) -> tuple[xgboost.Booster, xgboost.Booster]:
    """Give a booster that uses several threads, and one that uses one, the same one if the user has said how many."""
    if "OMP_NUM_THREADS" in os.environ:
        return booster, booster
    alone = booster.copy()
    alone.set_param({"nthread": 1})
    return booster, alone


def _list_names(names: list[str]) -> str:
    """Quote names for an error's one line, at most five of them."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(repr, names[:_MOST_NAMES])) + more


def _to_float32(values: pd.Series[Any], feature: dict[str, Any]) -> Matrix:
    """Convert one column to float32, categories to their codes; refuse what is no number."""
    if values.dtype == object:
        # MLflow's server wraps each cell of a column with missing values in an array.
        cells = [cell.item() if getattr(cell, "shape", None) == () else cell for cell in values]
        values = pd.Series(cells, values.index, dtype=object)
    if "categories" in feature:
        return _to_codes(values, feature)
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) not in _NUMBERS:
        # Booleans mixed with numbers count as numbers.
        odd = [not (cell is None or isinstance(cell, bool | int | float)) for cell in values]
        if any(odd):
            raise _cell_error(feature, values, odd.index(True), "numbers", "something else")
    elif values.dtype != object and (
        not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_complex_dtype(values)
    ):
        raise _cell_error(feature, values, 0, "numbers", str(values.dtype))
    try:
        with np.errstate(over="ignore"):
            column: Matrix = values.to_numpy(np.float32, na_value=np.nan)
    except OverflowError as error:
        rule = f"column {feature['name']!r} must be missing or below 3.4e38"
        raise _input_error(rule, "a number that is larger", "correct it") from error
    if np.isinf(column).any():
        row = int(np.isinf(column).argmax())
        raise _cell_error(feature, values, row, "missing or below 3.4e38", "an infinite value")
    return column


def _to_codes(values: pd.Series[Any], feature: dict[str, Any]) -> Matrix:
    """Convert categories to the codes that they had in training; missing values stay missing."""
    known = pd.Index(feature["categories"])
    codes = known.get_indexer(pd.Index(values.astype(object)))
    unknown = (codes < 0) & values.notna().to_numpy()
    if unknown.any():
        row = int(unknown.argmax())
        raise _cell_error(feature, values, row, "categories that the training had", "another one")
    return np.where(codes < 0, np.nan, codes).astype(np.float32)


def _cell_error(
    feature: dict[str, Any], values: pd.Series[Any], row: int, what: str, got: str
) -> MlflowException:
    """Make the error for a cell; it names row and column but not the value."""
    # In the later chunks of a table the index does not begin at 0.
    first = values.index.start if isinstance(values.index, pd.RangeIndex) else 0
    return _input_error(
        f"column {feature['name']!r} must be {what}",
        f"{got} in row {first + row + 1}",
        "correct it",
    )


def _input_error(rule: str, got: str, remedy: str) -> MlflowException:
    """Make the error for input that breaks a rule, in one line."""
    refusal: MlflowException = MlflowException.invalid_parameter_value(
        f"{ERROR_PREFIX}{rule}; got: {got}; {remedy}."
    )
    return refusal


set_model(ServedModel())
