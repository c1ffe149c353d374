"""Serve a registered model over HTTP: MLflow's scoring server behind limits and short errors."""

from asrl_mlflow.command_line.commands.serve import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
