"""Serve a registered model over HTTP: MLflow's scoring server behind limits and short errors."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.serve import command

if __name__ == "__main__":
    run(command)
