"""Record the digest of every file in a folder, and check another folder against that record."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from asrl_mlflow.errors import InputError, listed

_READ_BYTES = 1 << 20


def make_manifest(folder: Path) -> str:
    """Compute the SHA-256 of every file in a folder, as JSON: {"path with forward slashes": "digest"}.

    Parameters
    ----------
    folder : Path
        Its subfolders are included. Python's compiled code is deleted from it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("")
    >>> json.loads(make_manifest(folder))["a.txt"][:8]
    'e3b0c442'
    """
    remove_compiled(folder)
    return json.dumps(_digests(folder), sort_keys=True)


def remove_compiled(folder: Path) -> None:
    """Delete the folders in which Python keeps compiled code: nobody vouches for it, and sources stand beside it.

    Parameters
    ----------
    folder : Path
        A folder that is nobody else's.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "__pycache__").mkdir()
    >>> remove_compiled(folder)
    >>> list(folder.iterdir())
    []
    """
    for compiled in list(folder.rglob("__pycache__")):
        if compiled.is_dir() and not compiled.is_symlink():
            shutil.rmtree(compiled)


def check_manifest(folder: Path, recorded: str, owner: str) -> None:
    """Refuse a folder whose files are not exactly those of a manifest.

    Files are only hashed, not parsed: a changed file cannot do harm here.

    Parameters
    ----------
    folder : Path
        The folder to check. Links are not followed; every link counts as a difference.
    recorded : str
        The manifest that `make_manifest` returned for the original folder.
    owner : str
        What the folder belongs to, for the error.

    Raises
    ------
    InputError
        Files were changed, removed or added; the message names them. Or the manifest is none.
    """
    try:
        expected, found = dict(json.loads(recorded)), _digests(folder)
    except (ValueError, TypeError) as error:
        msg = f"{owner}: needs the manifest of its files; got one that cannot be read; register the run anew."
        raise InputError(msg) from error
    changed = [name for name in expected.keys() & found.keys() if expected[name] != found[name]]
    for what, names in (
        ("changed", changed),
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
    """Map the path of every file in a folder to its digest."""
    return {
        path.relative_to(folder).as_posix(): "a link" if path.is_symlink() else _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }


def _digest(path: Path) -> str:
    """Compute the SHA-256 of one file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
