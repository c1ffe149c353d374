"""What a regression target is like, and which loss to begin with, from one quick fit."""

from asrl_mlflow.command_line.commands.doctor import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
