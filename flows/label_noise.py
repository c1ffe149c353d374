"""Losses for classes under wrong labels: all tuned alike on wrong labels, judged once on right ones."""

from asrl_mlflow.command_line.commands.label_noise import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
