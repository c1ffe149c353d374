"""Score a table with a registered model, in chunks, into a file that is whole or not there."""

from asrl_mlflow.command_line.commands.predict import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
