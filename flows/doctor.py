"""What a regression target is like, and which loss to begin with, from one quick fit."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.doctor import command

if __name__ == "__main__":
    run(command)
