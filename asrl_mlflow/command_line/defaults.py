"""Defaults of options from environment variables, and from the table `[tool.asrl-mlflow]` of pyproject.toml.

What is given at the command line comes first, then the environment, then the table, then the default that is
built in; of each, what is said of one command comes before what is said of all.
"""

from __future__ import annotations

import csv
import difflib
import io
import logging
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from asrl_mlflow.command_line.catalogue import COMMANDS, keys_of, load
from asrl_mlflow.errors import InputError, did_you_mean

FILE, TABLE = "pyproject.toml", "tool.asrl-mlflow"
_PREFIX = "ASRL_"
# Read by others than options.
_OTHERS = {"ASRL_DATA_DIR", "ASRL_LOG_LEVEL"}
# As difflib measures it.
_NEAR = 0.8

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Default:
    """What an option is without being given.

    Parameters
    ----------
    text : str
        As it would stand at the command line.
    place : str
        Where it comes from: the name of a variable, or pyproject.toml.
    origin : str
        The same to the letter: a key, its table and its file.
    """

    text: str
    place: str
    origin: str


def variables(command: str, key: str) -> tuple[str, str]:
    """The environment variables of an option: of one command, and of all commands that have it.

    Examples
    --------
    >>> variables("train", "max-depth")
    ('ASRL_TRAIN_MAX_DEPTH', 'ASRL_MAX_DEPTH')
    """
    name = key.replace("-", "_").upper()
    return f"{_PREFIX}{command.upper()}_{name}", f"{_PREFIX}{name}"


def find_defaults(command: click.Command) -> dict[str, Default]:
    """The defaults of a command's options that the environment or the table sets; an empty value sets none.

    Parameters
    ----------
    command : click.Command
        Whose options they are.

    Returns
    -------
    dict of str to Default
        By the options' names in Python.

    Raises
    ------
    InputError
        The table has a key that is none, or a value that no option can have.
    """
    _warn_of_misspelt()
    found = _from_table(command)
    for key in keys_of(command):
        for name in variables(str(command.name), key):
            if os.environ.get(name):
                found[key] = Default(os.environ[name], name, name)
                break
    return {key.replace("-", "_"): default for key, default in found.items() if default.text}


def _warn_of_misspelt() -> None:
    """Warn of variables that are no option's but nearly so; others may be those of somebody else."""
    given = {name for name in os.environ if name.startswith(_PREFIX)} - _OTHERS
    if not given:
        return
    # All commands have to be imported for it.
    known = _OTHERS | {
        name for each in COMMANDS for key in keys_of(load(each)) for name in variables(each, key)
    }
    for name in sorted(given - known):
        # They all begin alike, so that others would be near, too.
        for near in difflib.get_close_matches(name, known, n=1, cutoff=_NEAR):
            _logger.warning("%s sets no option; did you mean %s?", name, near)


def _from_table(command: click.Command) -> dict[str, Default]:
    path = _find_file()
    table = {} if path is None else _read(path)
    if path is None or not table:
        return {}
    own, name = keys_of(command), str(command.name)
    shared = {key: value for key, value in table.items() if key not in COMMANDS}
    where = f"[{TABLE}] of {path}"
    if not set(shared) <= set(own):
        # Those of other commands, which have to be imported for it, are keys too.
        _check(
            shared, dict.fromkeys(key for each in COMMANDS for key in keys_of(load(each))), where
        )
    found = {key: _default(key, shared[key], where) for key in own if key in shared}
    where = f"[{TABLE}.{name}] of {path}"
    mine = table.get(name, {})
    if not isinstance(mine, Mapping):
        msg = f"{where}: must be a table of options; got {mine!r}; put its options under [{TABLE}.{name}]."
        raise InputError(msg)
    _check(mine, own, where)
    return found | {key: _default(key, value, where) for key, value in mine.items()}


def _find_file() -> Path | None:
    """The nearest pyproject.toml: of this folder, or of one above."""
    here = Path.cwd()
    return next(
        (path for folder in (here, *here.parents) if (path := folder / FILE).is_file()), None
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        for part in TABLE.split("."):
            content = content.get(part, {})
    except (AttributeError, OSError, ValueError) as error:
        msg = f"{path}: must be TOML with tables, which may have defaults of options; got {error}; mend it."
        raise InputError(msg) from error
    if not isinstance(content, Mapping):
        msg = f"{path}: {TABLE} must be a table; got {content!r}; write [{TABLE}]."
        raise InputError(msg)
    return content


def _check(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse a key that is no option's."""
    names = list(known)
    for key in keys:
        if key not in names:
            remedy = did_you_mean(key, [*names, *COMMANDS]) or "leave it out."
            msg = f"{where}: takes {', '.join(names)}; got {key!r}; {remedy}"
            raise InputError(msg)


def _default(key: str, value: Any, where: str) -> Default:  # noqa: ANN401 - whatever TOML has
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) for each in values):
        msg = f"{where}: {key} takes text, a number, true, false, or a list of them; got {value!r}; write it so."
        raise InputError(msg)
    texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in values]
    if not isinstance(value, list):
        return Default(texts[0], FILE, f"{key} in {where}")
    # As options take several: between commas, quoted where they have commas themselves.
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(texts)
    return Default(line.getvalue(), FILE, f"{key} in {where}")
