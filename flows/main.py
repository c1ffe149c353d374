"""Show on one table what robust losses are for, and register the loss that suits its labels."""

from asrl_mlflow.command_line.commands.main import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
