"""Whether a registered model is still right, on rows whose outcomes became known later."""

from asrl_mlflow.command_line.commands.monitor import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
