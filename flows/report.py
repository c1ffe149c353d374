"""The page of a run of compare, tune or main, written again from what the tracking store has."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.report import command

if __name__ == "__main__":
    run(command)
