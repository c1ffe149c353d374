"""Two demonstrations of the literature, a line among outliers: what they print beside ours."""

from asrl_mlflow.command_line.running import run
from asrl_mlflow.commands.literature import command

if __name__ == "__main__":
    run(command)
