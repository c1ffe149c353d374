"""Which labels of classes are wrong: what comes first, and what a run keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from sklearn.metrics import average_precision_score

from asrl_mlflow import RobustXGBClassifier, registry, which_labels
from asrl_mlflow.datasets import from_arrays
from asrl_mlflow.diagnosis.labels import predict_in_halves, rank_classes
from asrl_mlflow.diagnosis.labels.figure import draw_class_ranking
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import CLASSIFICATION_LOSSES, LogLoss
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


def test_class_weights_of_an_estimator_weigh_the_classes_they_name():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = np.where(x[:, 0] + rng.normal(size=400) > 0, "one", "two")
    plain, heavy = (
        which_labels(RobustXGBClassifier(n_estimators=20, class_weight=each, **PARAMS), x, y)
        for each in (None, {"one": 20.0})
    )
    means = [each.groupby("label")["probability"].mean() for each in (plain, heavy)]
    assert means[1]["one"] > means[0]["one"] + 0.05
    assert means[1]["two"] < means[0]["two"] - 0.05


def test_rows_of_a_class_that_boosters_have_not_seen_are_left_out():
    rng = np.random.default_rng(0)
    features = pd.DataFrame({"x": rng.normal(size=300)})
    y = np.where(features["x"] > 0, "a", "b").astype(object)
    y[200:] = "new"
    table = from_arrays(features, y, times=np.arange(300), classes=True)
    found = predict_in_halves(LogLoss(), {"num_class": 3}, 5, table.rows, 0)
    judged = set(np.asarray(table.classes)[found.target.astype(int)])
    assert judged == {"a", "b"}
    assert found.left_out == 300 - len(found.target)


def test_labels_with_leading_zeros_are_read_as_they_are(flow, store):
    x = np.random.default_rng(0).normal(size=120)
    frame = pd.DataFrame({"x": x, "code": np.where(x > 0, "001", "01")})
    frame.to_parquet("codes.parquet")
    assert flow("train", "--data=codes.parquet", "--rounds=3", "--figures=false")[0] == 0
    assert set(which_labels(newest(store))["label"]) == {"001", "01"}
