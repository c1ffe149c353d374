"""Open the storages of Optuna's studies, so that neither a kill nor many processes damage them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.storages import BaseStorage, RDBStorage

from asrl_mlflow.errors import InputError, StorageError
from asrl_mlflow.studies.journal import open_journal
from asrl_mlflow.studies.servers import ServerStorage, timeouts
from asrl_mlflow.system.files import create_atomically
from asrl_mlflow.system.processes import pause_at_random
from asrl_mlflow.system.uris import JOURNAL, SQLITE, hide_secrets, is_address, public_address

_logger = logging.getLogger(__name__)

_SERVERS = ("postgresql", "mysql")
_FORMS = "journal:PATH, sqlite:///PATH, postgresql+psycopg://... or mysql+pymysql://..."

# How long a process waits for others that write to the same SQLite file.
_SECONDS_FOR_SQLITE_LOCK = 60
_ATTEMPTS = 6
# A server that has taken so long to fail is not asked again.
_SECONDS_TO_OPEN = 10


def default_storage(tracking_uri: str) -> str:
    """Name the storage to use where none is given: a journal file beside the tracking store.

    Where the tracking store is no file of this host, the journal is in the current folder.

    Examples
    --------
    >>> default_storage("sqlite:////data/mlflow.db"), default_storage("http://tracking:5000")
    ('journal:/data/asrl-studies.journal', 'journal:asrl-studies.journal')
    """
    folder = Path()
    if tracking_uri.startswith(SQLITE):
        folder = Path(tracking_uri.removeprefix(SQLITE)).parent
    elif tracking_uri.startswith("file:"):
        folder = Path(unquote(urlsplit(tracking_uri).path))
    elif "://" not in tracking_uri:
        folder = Path(tracking_uri)
    return f"{JOURNAL}{folder / 'asrl-studies.journal'}"


@contextmanager
def open_storage(storage: str) -> Iterator[BaseStorage]:
    """Open a storage, create its schema where it has none, and close its connections at the end.

    Parameters
    ----------
    storage : str
        `journal:PATH` or `sqlite:///PATH` for the processes of one host, or the URL of a PostgreSQL
        or MySQL database for those of many. Paths may be relative to the current folder.

    Raises
    ------
    InputError
        The address has none of these forms, its driver is not installed, or its file holds something
        else.
    StorageError
        The database does not answer.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile, optuna
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_storage(f"journal:{folder}/studies.journal") as storage:
    ...         study = optuna.create_study(storage=storage)
    ...         study.ask().number
    0
    """
    # Its lines about every trial would break the progress bar.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    opened = _open(storage)
    try:
        yield opened
    finally:
        if isinstance(opened, RDBStorage):
            opened.remove_session()
            opened.engine.dispose()


def _open(storage: str) -> BaseStorage:
    if storage.startswith(JOURNAL) and storage != JOURNAL:
        return open_journal(Path(storage.removeprefix(JOURNAL)).absolute())
    if storage.startswith(SQLITE) and storage != SQLITE:
        return _open_sqlite(Path(storage.removeprefix(SQLITE)).absolute())
    if storage.startswith(_SERVERS):
        return _open_server(storage)
    msg = f"A storage needs the form {_FORMS}; got {public_address(storage)!r}; see --help."
    raise InputError(msg)


def _open_sqlite(path: Path) -> RDBStorage:
    """Open an SQLite file; a new one gets its schema under another name, so that none is unfinished."""

    def create(unfinished: Path) -> None:
        _open_database(f"{SQLITE}{unfinished}").engine.dispose()

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        create_atomically(path, create)
        return _open_database(f"{SQLITE}{path}")
    except sqlalchemy.exc.DatabaseError as error:
        msg = f"{path}: must be a SQLite database; got: {error.orig}; name another with --storage."
        raise InputError(msg) from error


def _open_database(url: str) -> RDBStorage:
    is_file = url.startswith(SQLITE)
    arguments = {"timeout": _SECONDS_FOR_SQLITE_LOCK} if is_file else timeouts(url)
    _check_free_of_mlflow(url, arguments)
    try:
        if is_file:
            return RDBStorage(url, engine_kwargs={"connect_args": arguments})
        return ServerStorage(url)
    except RuntimeError as error:
        msg = (
            f"{public_address(url)} must have the schema of Optuna {optuna.__version__}; got: "
            f"{str(error).splitlines()[0]} name another with --storage."
        )
        raise InputError(msg) from error


def _check_free_of_mlflow(url: str, arguments: Mapping[str, object]) -> None:
    """Refuse the database of another program.

    Optuna and MLflow keep the version of their schemas in a table of the same name.
    """
    engine = sqlalchemy.create_engine(url, connect_args=dict(arguments))
    try:
        tables = set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in tables and "studies" not in tables:
        msg = (
            f"{public_address(url)}: studies need a database of their own; got one that is another "
            "program's, such as MLflow; name another with --storage."
        )
        raise InputError(msg)


def _open_server(url: str) -> RDBStorage:
    """Open a database of a server, again some times where it fails."""
    _check_url(url)
    began = time.monotonic()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _open_database(url)
        except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
            msg = (
                f"{public_address(url)} needs a driver that is not installed ({error}); pip install "
                "'asrl-mlflow[postgres]', or the driver that the URL names."
            )
            raise InputError(msg) from error
        except InputError:
            raise
        except Exception as error:
            # Processes that create a schema at the same moment disturb each other, once or twice.
            if attempt == _ATTEMPTS or time.monotonic() - began > _SECONDS_TO_OPEN:
                reason = " ".join(hide_secrets(str(error), url).split())[:200]
                msg = (
                    f"The storage {public_address(url)} must answer; got: {reason}; start it, or name "
                    "another."
                )
                raise StorageError(msg) from error
            pause_at_random()
    raise AssertionError


def _check_url(url: str) -> None:
    """Refuse a URL that SQLAlchemy cannot parse, or parses otherwise than it was meant."""
    try:
        sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        is_url = False
    else:
        is_url = is_address(url)
    if not is_url:
        # Without SQLAlchemy's words: they may have a part of the password.
        msg = (
            f"A storage needs the form {_FORMS}, its port a number, an @ in a password written as %40; "
            f"got {public_address(url)!r}; see --help."
        )
        raise InputError(msg)
