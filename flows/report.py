"""The page of a run of compare, tune or main, written again from what the tracking store has."""

from asrl_mlflow.command_line.commands.report import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
