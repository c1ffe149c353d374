"""What files a folder holds, byte for byte, so that another one can be told from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from asrl_mlflow.errors import InputError, listed

_READ_BYTES = 1 << 20


def make_manifest(folder: Path) -> str:
    """The SHA-256 of every file below a folder, as JSON: {"path with forward slashes": "digest"}.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("")
    >>> json.loads(make_manifest(folder))["a.txt"][:8]
    'e3b0c442'
    """
    return json.dumps(_digests(folder), sort_keys=True)


def check_manifest(folder: Path, recorded: str, owner: str) -> None:
    """Refuse a folder that is not, file for file, what was recorded of it.

    No file is parsed: their bytes are only hashed.

    Parameters
    ----------
    folder : Path
        What to check. Links are not followed: a link is a file too many.
    recorded : str
        As `manifest` gave it.
    owner : str
        Whose folder it is, for the error.

    Raises
    ------
    InputError
        A file was changed, cut off, added or removed; the line names it.
    """
    expected, found = json.loads(recorded), _digests(folder)
    for what, names in (
        (
            "changed",
            [name for name in expected.keys() & found.keys() if expected[name] != found[name]],
        ),
        ("missing", list(expected.keys() - found.keys())),
        ("added", list(found.keys() - expected.keys())),
    ):
        if names:
            msg = (
                f"{owner}: its files must be those that were registered; got {listed(sorted(names))} "
                f"{what}; restore them, or register the run anew. Nothing of it was loaded."
            )
            raise InputError(msg)


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): "a link" if path.is_symlink() else _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
