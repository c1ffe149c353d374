"""Send what a tracking store did not take, from the spool files that keep it.

    python -m asrl_mlflow.tracking.resend asrl-spool/*.jsonl

A command of its own: nothing imports this file.
"""

from __future__ import annotations

import logging
import sys

from asrl_mlflow.errors import InputError
from asrl_mlflow.tracking.spool import one_line, resend


def main(*files: str) -> None:
    """Send spool files, with a line about each; what cannot be delivered ends the process.

    Exits with 2 for a file that is damaged or meant for another store, 3 where a store does not take
    it, as flows do.
    """
    # What matters of a store that fails is said by us.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    worst = 0
    for file in files:
        try:
            count = resend(file)
        except (InputError, OSError) as error:
            line, code = str(error), 2
        except Exception as error:  # noqa: BLE001 - every store fails in its own way
            line, code = f"{file}: not all was taken, the file stays: {one_line(error)}", 3
        else:
            line, code = f"{file}: sent, {count} entries" if count else "", 0
        if line:
            print(line, file=sys.stderr if code else sys.stdout)
        worst = max(worst, code)
    if worst:
        sys.exit(worst)


if __name__ == "__main__":
    main(*sys.argv[1:])
