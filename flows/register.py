"""From a run to a version of a registered model; champion only if it is better on the same rows."""

from asrl_mlflow.command_line.commands.register import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
