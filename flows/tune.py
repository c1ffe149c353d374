"""A study: Optuna searches the parameters of one loss, each trial a nested run; kill it and go on."""

from asrl_mlflow.command_line.commands.tune import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
