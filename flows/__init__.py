"""The entry points of MLproject, one file each, run as `python -m flows.<name>`; `asrl <name>` is the same command.

`asrl_mlflow.command_line.commands` has what they do.
"""

import sys

# While `-m` looks for the module, that is the program's name; the imports that come take seconds.
if sys.argv[:1] == ["-m"]:
    from asrl_mlflow.command_line import process

    _module = next((name for name in sys.orig_argv if name.startswith("flows.")), "flows")
    process.begin(_module.removeprefix("flows."))
