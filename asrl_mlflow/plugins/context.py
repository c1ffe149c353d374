"""Tag the runs of those who use this package with its version; MLflow loads this by an entry point.

Imported by every process that imports MLflow: standard library only.
"""

from __future__ import annotations

import sys

# As in `tracking.keys`, whose import would load pandas.
_VERSION_TAG = "asrl.version"
# What trains, tunes or logs with this package has imported its losses; MLflow itself has not.
_SIGN_OF_USE = "asrl_mlflow.losses"


class VersionContext:
    """MLflow's `RunContextProvider`: names this package's version where the process uses the package.

    Methods
    -------
    in_context()
        Whether the process has imported the package's losses: it is not enough that it is installed.
    tags()
        The version, as the tag `asrl.version`.

    Examples
    --------
    >>> import asrl_mlflow.losses
    >>> VersionContext().in_context(), list(VersionContext().tags())
    (True, ['asrl.version'])
    """

    def in_context(self) -> bool:
        """Check whether this process uses the package."""
        return _SIGN_OF_USE in sys.modules

    def tags(self) -> dict[str, str]:
        """Give the tags of a run that begins."""
        from importlib.metadata import version  # noqa: PLC0415 - takes long to import

        return {_VERSION_TAG: version("asrl-mlflow")}
