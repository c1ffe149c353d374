"""Spark: a registered model predicts there what it predicts here."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

import asrl_mlflow.mlflow as flavor
from asrl_mlflow import RobustXGBRegressor, registry
from asrl_mlflow.datasets.dataset import load
from tests.stores import newest

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed (extra spark)")
if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
    pytest.skip("Spark needs Java, which is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def spark():
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = pyspark.sql.SparkSession.builder.master("local[2]")
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.mark.filterwarnings("ignore")  # Spark and MLflow warn of one another
def test_spark_predicts_the_same(spark, flow, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    assert flow("train", "--rounds=20", "--figures=false")[0] == 0
    version = registry.register(newest(store))
    features = load().rows.features.astype({"age": "int64", "sex": "int64"})
    features.loc[::7, "bmi"] = np.nan
    expected = registry.load(version.uri).predict(features, params={"interval": 0.9})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = spark.createDataFrame(features.assign(row=range(len(features))))
    names = pyspark.sql.functions.struct(*features.columns[::-1])
    predict = mlflow.pyfunc.spark_udf(spark, version.uri, env_manager="local")
    found = table.withColumn("prediction", predict(names)).toPandas().sort_values("row")
    assert np.array_equal(found["prediction"], expected["prediction"])
    bounds = mlflow.pyfunc.spark_udf(
        spark,
        version.uri,
        env_manager="local",
        result_type="prediction double, lower double, upper double",
        params={"interval": 0.9},
    )
    found = table.select("row", bounds(names).alias("p")).select("row", "p.*").toPandas()
    assert np.allclose(found.sort_values("row")["upper"], expected["upper"], rtol=1e-12)


@pytest.mark.filterwarnings("ignore")  # as above
def test_a_folder_is_predicted_on_spark_as_it_is_here(spark, flow, store):
    assert flow("train", "--rounds=5", "--figures=false")[0] == 0
    version = registry.register(newest(store))
    rows = load().rows.features
    Path("data").mkdir()
    for part in range(3):
        rows[part::3].to_parquet(f"data/{part}.parquet")
    command = ["predict", f"--model-uri={version.uri}", "--data=data"]
    assert flow(*command, "--out=one.parquet")[0] == 0
    code, out, _ = flow(*command, "--out=many", "--engine=spark")
    assert (code, f"0 were there: {len(rows)} rows in 3 files of many" in out) == (0, True)
    found = pd.concat([pd.read_parquet(f"many/{part}.parquet") for part in range(3)])
    assert np.array_equal(found["prediction"], pd.read_parquet("one.parquet")["prediction"])
    Path("many/1.parquet").unlink()
    assert "1 files predicted, 2 were there" in flow(*command, "--out=many", "--engine=spark")[1]


@pytest.mark.filterwarnings("ignore")  # as above
@pytest.mark.parametrize("signature", [False, True])
def test_spark_predicts_what_a_logged_estimator_does(spark, store, signature):
    rng = np.random.default_rng(0)
    kind = pd.Categorical(rng.choice(["a", "b"], 100))
    x = pd.DataFrame({"x": rng.normal(size=100), "kind": kind})
    model = RobustXGBRegressor(n_estimators=5, enable_categorical=True, n_jobs=1)
    model.fit(x, x.x + 3 * (kind == "a"))
    logged = flavor.log_model(model, name="model", signature=signature, input_example=x)
    predict = mlflow.pyfunc.spark_udf(spark, logged.model_uri, env_manager="local")
    table = spark.createDataFrame(x.astype({"kind": object}).assign(row=range(100)))
    names = pyspark.sql.functions.struct("x", "kind")
    found = table.withColumn("prediction", predict(names)).toPandas().sort_values("row")
    assert np.array_equal(found["prediction"], model.predict(x))
