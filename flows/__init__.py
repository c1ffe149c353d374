"""The entry points, one file each, run as `python -m flows.<name>`."""

import sys

# While `-m` looks for the module, that is the program's name; the imports that come take seconds.
if sys.argv[:1] == ["-m"]:
    from flows import _process

    _process.begin()
