"""A worker that dies; a file of its own, so that other workers import nothing else for it."""

import os
import signal


def die_once(marker, value):
    """Take the process along at the first call."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value
