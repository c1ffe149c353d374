"""One loss on one table, in one tracked run."""

from asrl_mlflow.command_line.commands.train import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
