"""What MLflow loads by entry points: light, silent unless asked, and right on anybody's model."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression

from asrl_mlflow import datasets, metrics, registry
from asrl_mlflow.errors import InputError
from asrl_mlflow.plugins.context import VersionContext
from asrl_mlflow.plugins.evaluation import MEASURED
from asrl_mlflow.tracking.keys import VERSION_TAG
from tests.processes import ROOT
from tests.stores import artifacts, runs

PLAIN = {"default": {"log_model_explainability": False}}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*integer column:UserWarning"),  # mlflow of class labels
    pytest.mark.filterwarnings("ignore:.*ultiple:UserWarning"),  # mlflow 3.17 on scikit-learn 1.9
]


@pytest.fixture
def diabetes():
    return load_diabetes(as_frame=True).frame


@pytest.fixture
def forest(diabetes, store):
    """Somebody else's model: scikit-learn's, logged with MLflow's own flavor."""
    model = LinearRegression().fit(diabetes[:300].drop(columns="target"), diabetes[:300].target)
    info = mlflow.sklearn.log_model(model, name="line", pip_requirements=["scikit-learn"])
    return info.model_uri, model


def test_the_entry_points_are_those_of_pyproject_and_load_nothing_heavy():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert len(named) == 2
    for group, plugins in named.items():
        assert {
            each.name: each.value for each in entry_points(group=group)
        }.items() >= plugins.items()
        for target in plugins.values():
            check = (
                f"import sys, {target.split(':')[0]}; "
                "print({'numpy', 'pandas', 'mlflow', 'xgboost', 'matplotlib'} & set(sys.modules))"
            )
            done = subprocess.run(
                [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
            )
            assert done.stdout.strip() == "set()"


def test_who_only_has_the_package_installed_gets_no_tag_and_who_uses_it_gets_the_version(tmp_path):
    code = (
        "import sys, mlflow\n"
        "mlflow.set_tracking_uri('sqlite:///own.db')\n"
        "with mlflow.start_run() as run: pass\n"
        "print(mlflow.get_run(run.info.run_id).data.tags.get('asrl.version'))\n"
        "from asrl_mlflow import losses; losses.BASIC\n"
        "with mlflow.start_run() as run: pass\n"
        "print(mlflow.get_run(run.info.run_id).data.tags.get('asrl.version'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert done.stdout.split() == ["None", version]
    assert list(VersionContext().tags()) == [VERSION_TAG]


def test_any_regressor_gets_robust_metrics_and_figures_beside_mlflow_s_own(forest, diabetes, store):
    uri, model = forest
    judged = diabetes[300:]
    with mlflow.start_run() as run:
        result = mlflow.models.evaluate(
            uri, judged, targets="target", model_type="regressor",
            evaluators=["default", "asrl"], evaluator_config=PLAIN,
        )  # fmt: skip
    predicted = model.predict(judged.drop(columns="target"))
    kept = store.get_run(run.info.run_id)
    for name in MEASURED["regressor"]:
        expected = metrics.METRICS[name](judged.target, predicted)
        assert result.metrics[name] == kept.data.metrics[name] == pytest.approx(expected)
    assert "mean_absolute_error" in result.metrics
    assert not any(name.startswith(("share.", "interval.")) for name in result.metrics)
    assert {"error_by_decile.png", "predicted_against_actual.png"} <= set(
        artifacts(store, run.info.run_id)
    )
    assert result.artifacts["error_by_decile"].content.size[0] > 500
    logged = [each for each in kept.data.metrics if each == "medae"]
    assert logged
    (model_logged,) = store.search_logged_models([run.info.experiment_id])
    linked = {each.key: each for each in model_logged.metrics}
    assert linked["medae"].dataset_name == linked["mean_absolute_error"].dataset_name


def test_without_a_name_in_evaluators_it_stays_away(forest, diabetes, store):
    result = mlflow.models.evaluate(
        forest[0], diabetes[300:], targets="target", model_type="regressor",
        evaluator_config={"log_model_explainability": False},
    )  # fmt: skip
    assert "mean_absolute_error" in result.metrics
    assert "medae" not in result.metrics


def test_a_model_of_ours_gets_shares_of_its_regions_and_the_coverage_of_its_intervals(flow, store):
    assert flow("train", "--loss=asrl_c", "--rounds=10", "--figures=false")[0] == 0
    (run,), _ = runs(store)
    version = registry.register(run.info.run_id)
    rows = datasets.load().rows
    frame = rows.features.assign(y=rows.target)
    result = mlflow.models.evaluate(
        version.uri, frame, targets="y", model_type="regressor",
        evaluators="asrl", evaluator_config={"interval": 0.8, "metric_prefix": "all_", "figures": False},
    )  # fmt: skip
    output = registry.load(version.uri).predict(rows.features, params={"interval": 0.8})
    sizes = np.abs(rows.target - output["prediction"])
    limits = version.record.pointwise
    assert result.metrics["all_share.core"] == pytest.approx(np.mean(sizes <= limits["delta_low"]))
    assert result.metrics["all_share.tail"] == pytest.approx(np.mean(sizes > limits["delta_high"]))
    shares = [result.metrics[f"all_share.{name}"] for name in ("core", "middle", "tail")]
    assert sum(shares) == pytest.approx(1)
    inside = (output["lower"] <= rows.target) & (rows.target <= output["upper"])
    assert result.metrics["all_interval.coverage"] == pytest.approx(inside.mean())
    assert result.artifacts == {}


def test_shap_values_of_our_models_are_exact_and_come_from_the_trees(flow, store):
    assert flow("train", "--rounds=10", "--figures=false")[0] == 0
    (run,), _ = runs(store)
    version = registry.register(run.info.run_id)
    rows = datasets.load().rows
    with mlflow.start_run() as judged:
        result = mlflow.models.evaluate(
            version.uri, rows.features.assign(y=rows.target), targets="y", model_type="regressor",
            evaluators="asrl",
        )  # fmt: skip
    assert result.artifacts["shap"].content.size[0] > 500
    assert "shap.png" in artifacts(store, judged.info.run_id)
    served = registry.load(version.uri)
    found = served.unwrap_python_model().contributions(rows.features)
    np.testing.assert_allclose(found.sum(axis=1), served.predict(rows.features), rtol=1e-4)
    # MLflow's own flavor loads the booster too, and any tool for XGBoost explains it.
    booster = mlflow.xgboost.load_model(version.uri)
    names = list(rows.features.columns)
    matrix = xgboost.DMatrix(rows.features.to_numpy(), feature_names=names)
    assert np.array_equal(found, booster.predict(matrix, pred_contribs=True))


def test_predictions_without_a_model_and_functions_are_measured_too(store):
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 9.0]})
    settings = {"targets": "y", "model_type": "regressor", "evaluators": "asrl"}
    for result in (
        mlflow.models.evaluate(data=table, predictions="a", **settings),
        mlflow.models.evaluate(lambda frame: frame["a"], table, **settings),
    ):
        assert (result.metrics["mae"], result.metrics["medae"]) == (2.0, 0.0)


def test_a_classifier_is_measured_by_its_probabilities(store):
    frame = load_wine(as_frame=True).frame
    x = frame.drop(columns="target")
    model = LogisticRegression(max_iter=5000).fit(x, frame.target)
    info = mlflow.sklearn.log_model(model, name="logit", pip_requirements=["scikit-learn"])
    result = mlflow.models.evaluate(
        info.model_uri, frame, targets="target", model_type="classifier", evaluators="asrl"
    )
    for name in MEASURED["classifier"]:
        expected = metrics.TASKS["classification"].metrics[name](
            frame.target, model.predict_proba(x)
        )
        assert result.metrics[name] == pytest.approx(expected)
    assert list(result.artifacts) == ["reliability"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"intervall": 0.9}, r"got 'intervall'; .*'?interval"),
        ({"interval": 1.0}, r"an interval in \(0, 1\); got 1.0; pass 0.9, say\."),
    ],
)
def test_a_config_that_is_not_known_is_refused_in_one_line(config, message, store):
    table = pd.DataFrame({"a": [1.0], "y": [1.0]})
    with pytest.raises(InputError, match=message) as refused:
        mlflow.models.evaluate(
            data=table, predictions="a", targets="y", model_type="regressor",
            evaluators="asrl", evaluator_config=config,
        )  # fmt: skip
    assert "\n" not in str(refused.value)
