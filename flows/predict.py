"""Score a table with a registered model, in chunks, into a file that is whole or not there."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.predict import command

if __name__ == "__main__":
    run(command)
