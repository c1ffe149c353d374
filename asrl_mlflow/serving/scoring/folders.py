"""Predict a folder of Parquet files, one file of results for each, and go on where that was stopped.

Each result says in its metadata what it was made by: the model's digest, the options, size and time of its input. So
a folder of results needs no list beside it, which a kill could leave wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from asrl_mlflow.datasets.parquet import open_parquet
from asrl_mlflow.errors import InputError, StorageError
from asrl_mlflow.serving.batch import predict_file
from asrl_mlflow.serving.scoring.model_files import ModelFiles
from asrl_mlflow.system.files import write_atomically

# As Spark and Hadoop name it; names that begin so are not data.
MARKER = "_SUCCESS"
_MADE_BY = "asrl.made_by"


@dataclass(frozen=True)
class Part:
    """One file of a folder.

    Parameters
    ----------
    data : Path
        The file.
    rows : pyarrow.dataset.Dataset
        Its rows, with the types that their columns have in the folder.
    out : Path
        Where its result belongs.
    stamp : (int, int)
        Size and time of the file, as it was before it is read.
    """

    data: Path
    rows: pa.dataset.Dataset
    out: Path
    stamp: tuple[int, int]

    def names_in_path(self) -> set[str]:
        """Columns that are in the names of folders, as in year=2025: results have them there too."""
        (fragment,) = self.rows.get_fragments()
        return set(self.rows.schema.names) - set(fragment.physical_schema.names)


@dataclass(frozen=True)
class Scoring:
    """What is the same for all files of a folder.

    Parameters
    ----------
    model : ModelFiles
        The model.
    level : float, in (0, 1), optional
        As for `predict_file`.
    clean, adaptive : bool
        As for `predict_file`.
    keep : tuple of str
        As for `predict_file`.
    """

    model: ModelFiles
    level: float | None
    clean: bool
    adaptive: bool
    keep: tuple[str, ...]

    def predict(self, part: Part) -> Exception | None:
        """Predict one file; what a user can mend is returned, for an engine may make text of what is raised."""
        try:
            part.out.parent.mkdir(parents=True, exist_ok=True)
            predict_file(
                self.model.load(),
                part.data,
                part.out,
                level=self.level,
                clean=self.clean,
                adaptive=self.adaptive,
                keep=[name for name in self.keep if name not in part.names_in_path()],
                part=part.rows,
                notes={_MADE_BY: json.dumps({**self.described(), "input": part.stamp})},
            )
        except (InputError, StorageError, OSError) as error:
            return error
        return None

    def described(self) -> dict[str, Any]:
        """What all results of a folder have in common, for JSON."""
        return {
            "model": self.model.name,
            "digest": self.model.digest,
            "interval": self.level,
            "clean": self.clean,
            "adaptive": self.adaptive,
            "keep": list(self.keep),
        }


# Calls a function for each part, anywhere and in any order; what the calls return, as they end.
Run = Callable[[Callable[[Part], Exception | None], Sequence[Part]], Iterable[Exception | None]]


@dataclass(frozen=True)
class FolderResult:
    """A folder of results that is whole.

    Parameters
    ----------
    files : int
        How many results it has.
    made : int
        How many of them were made now; the others had been made before.
    rows : int
        Rows in all of them.
    """

    files: int
    made: int
    rows: int


def predict_folder(
    model: ModelFiles,
    data: Path,
    out: Path,
    *,
    run: Run,
    level: float | None = None,
    clean: bool = False,
    adaptive: bool = False,
    keep: Collection[str] = (),
    on_progress: Callable[[int, int], object] = lambda *_: None,
) -> FolderResult:
    """Predict every file of a folder that has no result yet, or has changed since.

    Parameters
    ----------
    model : ModelFiles
        The model.
    data : Path
        A folder of .parquet files. All hosts at work see it, and `out`, under the same path.
    out : Path
        A folder for the results: for each file one of the same name, written under another and renamed when
        it is complete. The file `_SUCCESS` in it is written last, and means that the folder is whole.
    run : callable
        Does the work, an engine's or `map`.
    level, clean, adaptive, keep
        As for `predict_file`.
    on_progress : callable
        Called with how many files are done, and with how many there are.

    Raises
    ------
    InputError
        A file cannot be predicted: the others are, and the same call again does what is missing. Or `out` has
        results of another model or of other options, or of files that `data` does not have.
    OSError, StorageError
        A result cannot be written.
    """
    data, out = data.absolute(), out.absolute()
    _check_folders(data, out)
    scoring = Scoring(model, level, clean, adaptive, tuple(keep))
    parts = list(_parts(data, out))
    _check_results(scoring, data, out, parts)
    missing = [part for part in parts if not _is_made(scoring, part)]
    if missing:
        (out / MARKER).unlink(missing_ok=True)
    done = len(parts) - len(missing)
    failures = []
    on_progress(done, len(parts))
    for failure in run(scoring.predict, missing) if missing else ():
        done += failure is None
        failures += [] if failure is None else [failure]
        on_progress(done, len(parts))
    if failures:
        raise _summary(failures, len(parts))
    _check_results(scoring, data, out, parts)
    rows = sum(pa.parquet.read_metadata(part.out).num_rows for part in parts)
    if not (out / MARKER).exists():
        with write_atomically(out / MARKER) as unfinished:
            told = {**scoring.described(), "files": len(parts), "rows": rows}
            unfinished.write_text(json.dumps(told, indent=2))
    return FolderResult(files=len(parts), made=len(missing), rows=rows)


def _check_folders(data: Path, out: Path) -> None:
    if not data.is_dir():
        msg = (
            f"Data needs a folder of .parquet files for an engine; got {data}; leave --engine out."
        )
        raise InputError(msg)
    if out.exists() and not out.is_dir():
        msg = f"The results need a folder of their own; got the file {out}; name another."
        raise InputError(msg)
    inside, around = (
        one.resolve().is_relative_to(other.resolve()) for one, other in ((out, data), (data, out))
    )
    if inside or around:
        msg = f"The results need a place outside of the data; got {out} for {data}; name another."
        raise InputError(msg)
    if not out.parent.is_dir():
        msg = (
            f"The results need a folder whose parent is there; got {out}; make {out.parent} first."
        )
        raise InputError(msg)


def _parts(data: Path, out: Path) -> Iterator[Part]:
    source = open_parquet(data, drop=())
    for fragment in source.get_fragments():
        file = Path(fragment.path)
        rows = pa.dataset.FileSystemDataset(
            [fragment], source.schema, source.format, source.filesystem
        )
        stat = file.stat()
        yield Part(file, rows, out / file.relative_to(data), (stat.st_size, stat.st_mtime_ns))


def _check_results(scoring: Scoring, data: Path, out: Path, parts: Sequence[Part]) -> None:
    """Refuse a folder that has anything but results of these files by this model and these options."""
    expected = {part.out for part in parts}
    for file in sorted(out.rglob("*")):
        if file.is_dir() or any(
            name.startswith(("_", ".")) for name in file.relative_to(out).parts
        ):
            continue
        if file not in expected:
            msg = (
                f"{out}: results need a folder in which each file has one in {data}; got "
                f"{str(file.relative_to(out))!r}; remove it, or name another --out."
            )
            raise InputError(msg)
        made_by = _made_by(file)
        if made_by is None:
            msg = (
                f"{file}: must be a result of asrl, whole and with its metadata; got another file; remove it, "
                "or name another --out."
            )
            raise InputError(msg)
        wanted = scoring.described()
        odd = [key for key in wanted if key != "model" and made_by.get(key) != wanted[key]]
        if odd:
            shown = ["model", *(key for key in odd if key != "digest")]
            had, asked = (
                ", ".join(f"{key}={each.get(key)}" for key in shown) for each in (made_by, wanted)
            )
            msg = (
                f"{out}: results of one folder need one model and the same options; it has some of {had}; got "
                f"{asked}; name another --out, or remove them."
            )
            raise InputError(msg)


def _is_made(scoring: Scoring, part: Part) -> bool:
    made_by = _made_by(part.out) if part.out.exists() else None
    return made_by == {**scoring.described(), "input": list(part.stamp)}


def _made_by(file: Path) -> dict[str, Any] | None:
    """Read what made a result; None where it is none, or not whole."""
    try:
        metadata = pa.parquet.read_schema(file).metadata or {}
        made_by: dict[str, Any] = json.loads(metadata[_MADE_BY.encode()])
    except (pa.ArrowInvalid, KeyError, ValueError):
        return None
    return made_by


def _summary(failures: Sequence[Exception], files: int) -> Exception:
    """The first failure, with how many there are; that of a disk goes before that of a table."""
    failures = sorted(failures, key=lambda each: (isinstance(each, InputError), str(each)))
    if not isinstance(failures[0], InputError):
        return failures[0]
    of_all = f"{len(failures)} of {files} files" if files > 1 else "it"
    return InputError(
        f"{failures[0]} ({of_all} could not be predicted; results of the others stay, the same command goes on.)"
    )
