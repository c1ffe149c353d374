"""Read targets, numbers or labels of classes, as the numbers that XGBoost learns from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xgboost
from sklearn.utils import column_or_1d

from asrl_mlflow.errors import InputError, listed

# Of the booster, which XGBoost itself tells the number of classes only.
CLASSES_ATTRIBUTE = "asrl_classes"

Vector = npt.ArrayLike

_FEWEST_CLASSES = 2
# Of numpy: booleans, integers, floats, text, and objects of any kind.
_PLAIN_KINDS = "biufUO"


class Target(Protocol):
    """Interface for what is known of a target before training."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Parameters of boosting that follow from it."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What the booster must keep."""

    def read(self, values: Vector) -> npt.NDArray[Any]:
        """Give the numbers that XGBoost learns from, one for each value.

        Raises
        ------
        InputError
            A value that is no target.
        """


class Numbers:
    """A target of numbers; what is public is as `Target` says.

    Parameters
    ----------
    owner : str
        The estimator, for errors.

    Examples
    --------
    >>> Numbers("fit").read([1.5, 2.5])
    array([1.5, 2.5])
    """

    settings: Mapping[str, Any] = {}
    attributes: Mapping[str, str] = {}

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def read(self, values: Vector) -> npt.NDArray[Any]:
        """Give the numbers as they are."""
        found: npt.NDArray[Any] = column_or_1d(values, warn=True)
        check_finite(self._owner, found, "targets")
        return found


class Classes:
    """A target of classes; what is public is as `Target` says.

    Parameters
    ----------
    owner : str
        The estimator, for errors.
    labels : array of shape (K,), K >= 2
        Of the classes, sorted.

    Examples
    --------
    >>> classes = Classes.of("fit", ["no", "yes", "no"])
    >>> classes.labels, classes.read(["yes", "no"])
    (array(['no', 'yes'], dtype='<U3'), array([1, 0]))
    """

    def __init__(self, owner: str, labels: npt.NDArray[Any]) -> None:
        self._owner, self.labels = owner, labels

    @classmethod
    def of(cls, owner: str, values: Vector) -> Classes:
        """The classes that some labels name.

        Raises
        ------
        InputError
            Labels that are missing, fractions, of several kinds, or neither text, numbers nor booleans;
            or all labels are the same.
        """
        labels, _ = _unique(owner, column_or_1d(values, warn=True))
        if labels.size < _FEWEST_CLASSES:
            found = f"the one class {labels.tolist()[0]!r:.40}" if labels.size else "no label"
            msg = f"{owner} needs labels of at least 2 classes; got {found}; add rows of others."
            raise InputError(msg)
        return cls(owner, labels)

    @classmethod
    def recorded(cls, owner: str, booster: xgboost.Booster) -> Classes:
        """The classes of a booster; 0, 1, ... where it was trained without labels.

        Examples
        --------
        >>> matrix = xgboost.DMatrix(np.zeros((2, 1)), label=[0, 1])
        >>> Classes.recorded("fit", xgboost.Booster({}, [matrix])).labels
        array([0, 1])
        """
        text = booster.attr(CLASSES_ATTRIBUTE)
        if text is not None:
            record = json.loads(text)
            return cls(owner, np.array(record["labels"], dtype=record["dtype"]))
        config = json.loads(booster.save_config())
        outputs = int(config["learner"]["learner_model_param"]["num_class"])
        return cls(owner, np.arange(max(_FEWEST_CLASSES, outputs)))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The number of classes."""
        return {"num_class": self.labels.size}

    @property
    def attributes(self) -> Mapping[str, str]:
        """The labels."""
        record = {"labels": self.labels.tolist(), "dtype": self.labels.dtype.str}
        return {CLASSES_ATTRIBUTE: json.dumps(record)}

    def read(self, values: Vector) -> npt.NDArray[np.intp]:
        """Give the places of labels in the sorted list of all, which count from 0."""
        labels, codes = _unique(self._owner, column_or_1d(values, warn=True))
        places = {label: place for place, label in enumerate(self.labels.tolist())}
        unknown = [label for label in labels.tolist() if label not in places]
        if unknown:
            msg = (
                f"{self._owner} knows the labels {listed(self.labels.tolist())}; got {listed(unknown)}; "
                "leave those rows out, or fit with rows of all classes."
            )
            raise InputError(msg)
        return np.array([places[label] for label in labels.tolist()], np.intp)[codes]


def check_finite(owner: str, values: npt.NDArray[Any], what: str) -> None:
    """Refuse numbers that are missing or infinite; whatever else they are is XGBoost's to say.

    Raises
    ------
    InputError
        The line names the first row, counted from 0.

    Examples
    --------
    >>> check_finite("fit", np.array([1.0, 2.0]), "targets")
    """
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(bad.argmax())
        msg = (
            f"{owner} needs {what} without NaN or inf; got {values.flat[row]} in row {row}; "
            "leave such rows out."
        )
        raise InputError(msg)


def _unique(owner: str, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Sort the different labels, with the place of each row's; refuse what names no class."""
    check_finite(owner, values, "labels")
    if values.dtype.kind not in _PLAIN_KINDS:
        values = np.array(list(values), dtype=object)
    try:
        labels, codes = np.unique(values, return_inverse=True)
    except TypeError:  # there is no order of text, numbers and None
        labels, codes = values, np.arange(values.size)
    kinds = {
        "number" if isinstance(each, int | float) else type(each).__name__
        for each in labels.tolist()
    }
    if kinds - {"number", "str"} or len(kinds) > 1:
        msg = (
            f"{owner} needs labels that are all text, all whole numbers or all booleans; got "
            f"{' and '.join(sorted(kinds))}; write them as text, and leave rows without one out."
        )
        raise InputError(msg)
    odd = [each for each in labels.tolist() if isinstance(each, float) and not each.is_integer()]
    if odd:
        # scikit-learn looks for the words in brackets.
        msg = (
            f"{owner} needs labels that name classes; got the fraction {odd[0]:g} (Unknown label type: "
            "continuous); use RobustXGBRegressor for numbers."
        )
        raise InputError(msg)
    return labels, codes
