"""Many losses side by side on one table or several: a parent run, and a child each loss, table and seed."""

from asrl_mlflow.command_line.commands.compare import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
