"""A study: Optuna searches the parameters of one loss, each trial a nested run; kill it and go on."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.tune import command

if __name__ == "__main__":
    run(command)
