"""Many losses side by side on one table or several: a parent run, and a child each loss, table and seed."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.compare import command

if __name__ == "__main__":
    run(command)
