"""Losses beside rivals over a grid of tables and spoiled targets: tuned alike, judged once, with a verdict."""

from asrl_mlflow.command_line.commands.study import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
