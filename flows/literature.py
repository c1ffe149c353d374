"""Two demonstrations of the literature, a line among outliers: what they print beside ours."""

from asrl_mlflow.command_line.commands.literature import command
from asrl_mlflow.command_line.running import run

if __name__ == "__main__":
    run(command)
