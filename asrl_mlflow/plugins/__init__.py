"""What MLflow loads by entry points: an evaluator, and a provider of tags for runs.

Every process that imports MLflow imports `context`, and with `mlflow.models` `evaluator`: both import the
standard library only, and both do nothing unless they are asked. Imports `losses`, `metrics` and `figures`.

MLflow has two more kinds of plugins that are left out. A project backend says where `mlflow run` runs; its
own local one is what these flows need. A deployment client starts servers elsewhere; the flow `serve` and
MLflow's own `models serve` and `build-docker` do that for these models already.
"""
