"""The command `asrl`, which is `python -m asrl_mlflow` too."""

from __future__ import annotations

import sys
from typing import NoReturn

from asrl_mlflow.command_line import process


def main() -> NoReturn:
    """Run the command that the process was started with."""
    words = sys.argv[1:]
    process.begin(" ".join(["asrl", *filter(str.isidentifier, words[:1])]))
    # Signals are answered by now; from here on imports take time.
    from asrl_mlflow.command_line.console import run  # noqa: PLC0415 - see above

    run(words)


if __name__ == "__main__":
    main()
