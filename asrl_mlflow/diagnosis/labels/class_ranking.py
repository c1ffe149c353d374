"""Rank rows by how little boosters that did not learn from them believe the class of their label."""

from __future__ import annotations

import numpy as np
import pandas as pd

from asrl_mlflow.records.unseen import OutOfFold


def rank_classes(found: OutOfFold) -> pd.DataFrame:
    """Rank the rows of a classification, those whose label is most probably wrong first.

    Parameters
    ----------
    found : OutOfFold
        Rows with their out-of-fold probabilities.

    Returns
    -------
    DataFrame of shape (n, 6)
        `row`, the position in the table; `label`; `probability`, that of the label, out of fold; `likeliest`,
        the other class that is most probable, and `likeliest_probability`; `score`, in [0, 1]: half of
        1 + probability - likeliest_probability, the lower the more suspicious.

    Notes
    -----
    The score is the normalised margin of confident learning.

    References
    ----------
    C. Northcutt, L. Jiang, I. Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 70,
    2021, arXiv 1911.00068.

    Examples
    --------
    >>> found = OutOfFold(
    ...     numbers=np.array([0, 1]),
    ...     target=np.array([0.0, 1.0]),
    ...     prediction=np.array([[0.9, 0.1], [0.8, 0.2]]),
    ...     spread=np.zeros((2, 2)),
    ...     classes=("cat", "dog"),
    ... )
    >>> rank_classes(found).head(1)
       row label  probability likeliest  likeliest_probability  score
    0    1   dog          0.2       cat                    0.8    0.2
    """
    rows = np.arange(len(found.target))
    codes = found.target.astype(np.intp)
    own = found.prediction[rows, codes]
    others = found.prediction.copy()
    others[rows, codes] = -1
    likeliest = others.argmax(axis=1)
    other = others[rows, likeliest]
    score = (1 + own - other) / 2
    labels = np.asarray(found.classes, dtype=object)
    return (
        pd.DataFrame(
            {
                "row": found.numbers,
                "label": labels[codes],
                "probability": own,
                "likeliest": labels[likeliest],
                "likeliest_probability": other,
                "score": score,
            }
        )
        .take(np.argsort(score, kind="stable"))
        .reset_index(drop=True)
    )
