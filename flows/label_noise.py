"""Losses for classes under wrong labels: all tuned alike on wrong labels, judged once on right ones."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.label_noise import command

if __name__ == "__main__":
    run(command)
