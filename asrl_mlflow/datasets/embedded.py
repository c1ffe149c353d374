"""Tables that come with scikit-learn, each with a target that its column's name and labels explain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class EmbeddedTable:
    """A table that comes with scikit-learn.

    Parameters
    ----------
    loader : str
        The function of `sklearn.datasets` that makes it.
    target : str
        Our name for the target.
    classes : bool
        Whether the target names classes.
    """

    loader: str
    target: str
    classes: bool

    @property
    def source(self) -> str:
        """The full name of the function that makes the table."""
        return f"sklearn.datasets.{self.loader}"

    def load(self) -> pd.DataFrame:
        """Make the table, the target last; classes are written out as their labels.

        Examples
        --------
        >>> EMBEDDED["breast_cancer"].load()["diagnosis"].value_counts().to_dict()
        {'benign': 357, 'malignant': 212}
        """
        # Here, not above: scikit-learn takes a second to import and only these tables need it.
        import sklearn.datasets  # noqa: PLC0415 - see above

        bunch = getattr(sklearn.datasets, self.loader)(as_frame=True)
        target = bunch.target
        if self.classes:
            # `tolist`, because pandas should see text and integers, not numpy's kinds of them.
            target = target.map(dict(enumerate(bunch.target_names.tolist())))
        frame: pd.DataFrame = bunch.data.assign(**{self.target: target})
        return frame


EMBEDDED: Mapping[str, EmbeddedTable] = {
    "diabetes": EmbeddedTable("load_diabetes", "disease_progression", classes=False),
    "breast_cancer": EmbeddedTable("load_breast_cancer", "diagnosis", classes=True),
    "wine": EmbeddedTable("load_wine", "cultivar", classes=True),
    "digits": EmbeddedTable("load_digits", "digit", classes=True),
}
