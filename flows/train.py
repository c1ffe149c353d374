"""One loss on one table, in one tracked run."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.train import command

if __name__ == "__main__":
    run(command)
