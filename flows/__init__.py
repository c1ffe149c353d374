"""The entry points, one file each, run as `python -m flows.<name>`."""

import os
import signal
import sys

# While `-m` looks for the module, that is the program's name. The imports that come take seconds;
# nothing is open yet, so a signal may end them at once, and without a traceback.
if sys.argv[:1] == ["-m"]:
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup a terminal that closes ends nothing.
        if _number == signal.SIGHUP and signal.getsignal(_number) == signal.SIG_IGN:
            continue
        signal.signal(_number, lambda number, _: os._exit(128 + number))
