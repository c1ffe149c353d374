"""Which labels of classes are wrong: what comes first, and what a run keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from sklearn.metrics import average_precision_score

from asrl_mlflow import RobustXGBClassifier, registry, which_labels
from asrl_mlflow.errors import InputError
from asrl_mlflow.labels import rank_classes
from asrl_mlflow.labels.figure import draw_class_ranking
from asrl_mlflow.losses import CLASSIFICATION_LOSSES
from asrl_mlflow.records.unseen import OutOfFold
from tests.conftest import PARAMS
from tests.stores import artifacts, newest

COLUMNS = ["row", "label", "probability", "likeliest", "likeliest_probability", "score"]


@pytest.fixture(scope="module")
def flipped():
    """Features, labels of text of which 18 are wrong, and which ones those are."""
    x, y = load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    wrong = np.isin(np.arange(len(y)), rng.choice(len(y), 18, replace=False))
    labels = np.array(["barbera", "barolo", "grignolino"])[np.where(wrong, (y + 1) % 3, y)]
    return x, labels, wrong


@pytest.mark.parametrize("loss", [name for name in CLASSIFICATION_LOSSES if "hinge" not in name])
def test_wrong_classes_come_first_whatever_the_loss(flipped, loss):
    x, labels, wrong = flipped
    ranked = which_labels(RobustXGBClassifier(loss=loss, n_estimators=20, **PARAMS), x, labels)
    assert list(ranked) == COLUMNS
    assert sorted(ranked["row"]) == list(range(len(labels)))
    found = wrong[ranked["row"]]
    assert average_precision_score(found, -ranked["score"]) > 0.75
    assert (ranked["label"].to_numpy() == labels[ranked["row"]]).all()
    assert (ranked["label"] != ranked["likeliest"]).all()


def test_a_run_of_classes_keeps_the_ranking_of_its_training_rows(flow, store):
    assert flow("train", "--data=wine", "--loss=full_l", "--rounds=10")[0] == 0
    run_id = newest(store)
    found = artifacts(store, run_id)
    assert "which_labels.csv" in found
    assert "figures/which_labels.png" in found
    ranked = which_labels(run_id)
    assert list(ranked) == COLUMNS
    assert len(ranked) == store.get_run(run_id).data.metrics["labels.ranked"]
    assert (np.diff(ranked["score"]) >= 0).all()
    version = registry.register(run_id)
    pd.testing.assert_frame_equal(which_labels(version.uri), ranked)


def test_the_score_is_the_normalised_margin_of_the_label():
    found = OutOfFold(
        numbers=np.arange(3),
        target=np.array([0.0, 1.0, 2.0]),
        prediction=np.array([[0.6, 0.3, 0.1], [0.5, 0.2, 0.3], [0.2, 0.4, 0.4]]),
        spread=np.zeros((3, 3)),
        classes=(10, 20, 30),
    )
    table = rank_classes(found)
    assert table["row"].tolist() == [1, 2, 0]
    np.testing.assert_allclose(table["score"], [(1 - 0.3) / 2, 0.5, 1.3 / 2])
    assert table["likeliest"].tolist() == [10, 20, 20]
    figure = draw_class_ranking(table, 2, "a table")
    assert "2 rows without an out-of-fold prediction" in figure.subfigs[0].get_suptitle()


def test_missing_labels_are_refused_in_one_line(flipped):
    x, labels, _ = flipped
    with pytest.raises(InputError, match=r"got 1 missing, the first in row 3 \(from 0\)"):
        which_labels(RobustXGBClassifier(), x, np.where(np.arange(178) == 3, None, labels))
