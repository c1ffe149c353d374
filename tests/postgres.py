"""A PostgreSQL server of our own, which can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest


class Postgres:
    """A server, reached by a socket in its folder.

    Attributes
    ----------
    url : str
        Of its database, for SQLAlchemy.
    """

    def __init__(self):
        folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
        path = os.pathsep.join([os.environ["PATH"], *map(str, folders)])
        if shutil.which("initdb", path=path) is None or shutil.which("postgres", path=path) is None:
            pytest.skip("no PostgreSQL server is installed here")
        # Not in pytest's: each pytest that starts takes it from other users.
        self._folder = folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._as_user = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            self._as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            os.chown(folder, 65534, 65534)
        self._settings = {
            "env": {**os.environ, "PATH": path, "LC_ALL": "C"},
            "cwd": folder,
            "stdout": subprocess.DEVNULL,
        }
        initdb = ["initdb", "-D", folder / "data", "-U", "asrl", "--auth=trust", "-E", "UTF8"]
        subprocess.run([*self._as_user, *initdb], check=True, **self._settings)
        self.url = f"postgresql+psycopg://asrl@/postgres?host={folder}"
        self.start()

    def start(self):
        command = ["postgres", "-D", "data", "-k", self._folder, "-c", "listen_addresses="]
        with (self._folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [*self._as_user, *command], stderr=log, **self._settings
            )

    def stop(self):
        """Cut all connections, as a restart does."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait()

    def remove(self):
        self.stop()
        shutil.rmtree(self._folder)
