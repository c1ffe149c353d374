"""Addresses of stores and storages: check them, and hide their passwords and keys."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

HIDDEN = "***"

# How addresses of files begin: a study's journal, and a database.
JOURNAL, SQLITE = "journal:", "sqlite:///"
_PATHS = ("file:", "/", ".")

# Up to the last @, as whoever forgets to write one in a password as %40 has two; and whatever stands
# before it, as a user's name may have @, / and ? too. A path with : and @ is hidden rather than a
# password shown.
_PASSWORD = re.compile(r"(?P<shown>://[^\s:]*:)(?P<secret>\S*)(?=@)")
# What stands alone before the @ of a web address is a key, not a user's name.
_KEY = re.compile(r"(?P<shown>\bhttps?://)(?P<secret>[^\s:/?]+)(?=@)", re.IGNORECASE)
_PARAMETER = re.compile(
    r"(?P<shown>\b[\w.-]*(?:password|passwd|pwd|passphrase|pass(?==)|token|secret|credential|"
    r"(?:api|access|account)[_-]?key|signature|\bsig)[\w.-]*=)(?P<secret>[^\s&;'\"]+)",
    re.IGNORECASE,
)
_BLANK = re.compile(r"\s")
_SECRETS = (_PASSWORD, _KEY, _PARAMETER)
# Shorter ones would be found in any word.
_FEWEST_LETTERS = 3
_WITH_HOST = ("http", "postgresql", "mysql", "mssql")
_WELL_FORMED = re.compile(r"[\w+.-]+://[^/]")
_BEFORE_HOST = re.compile(r".*@", re.DOTALL)


def hide_secrets(text: str, address: str = "") -> str:
    """Replace the secrets of all addresses in a text by ***.

    Hidden are passwords before an @, keys that stand before the @ of a web address, and parameters
    whose names say that they are secret, such as password, token, or sslpassword.

    Parameters
    ----------
    text : str
        An address, or a sentence that has some, such as another library's error.
    address : str
        One whose secrets are hidden wherever they stand in the text, also those with blanks.

    Examples
    --------
    >>> hide_secrets("postgresql://me:secret@host/runs?sslpassword=more&timeout=5")
    'postgresql://me:***@host/runs?sslpassword=***&timeout=5'
    >>> hide_secrets("no answer from https://me:secret@host/api, nor from sqlite:////data/mlflow.db")
    'no answer from https://me:***@host/api, nor from sqlite:////data/mlflow.db'
    """
    # First, as an address with blanks is matched in parts only.
    for secret in _secrets(address):
        for form in (secret, unquote(secret)):
            text = text.replace(form, HIDDEN) if len(form) >= _FEWEST_LETTERS else text
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<shown>{HIDDEN}", text)
    return text


def _secrets(address: str) -> set[str]:
    """Find the secrets of one address; blanks belong to it, while in a sentence they end it."""
    gapless = _BLANK.sub("_", address)
    return {
        address[slice(*found.span("secret"))]
        for pattern in _SECRETS
        for found in pattern.finditer(gapless)
    }


def hide_address_secrets(text: str) -> str:
    """Replace the secrets of one address by ***; of a misspelt one, all that stands before the last @.

    Examples
    --------
    >>> hide_address_secrets("postgresql:/me:secret@host/runs")
    '***@host/runs'
    """
    # A blank in a password would end it otherwise.
    text = _BLANK.sub("%20", text)
    return hide_secrets(text if _WELL_FORMED.match(text) else _BEFORE_HOST.sub(f"{HIDDEN}@", text))


def public_address(address: str) -> str:
    """Address of a store or storage that may be shown and kept: secrets hidden, paths absolute.

    Examples
    --------
    >>> public_address("postgresql+psycopg://me:secret@host/studies")
    'postgresql+psycopg://me:***@host/studies'
    >>> public_address("journal:/data/me@work.journal")
    'journal:/data/me@work.journal'
    """
    for kind in (JOURNAL, SQLITE):
        if address.startswith(kind):
            return f"{kind}{Path(address.removeprefix(kind)).absolute()}"
    # An @ in a path precedes no host.
    return hide_secrets(address) if address.startswith(_PATHS) else hide_address_secrets(address)


def is_secret(text: str) -> bool:
    """Check whether a text has secrets that `hide_secrets` would replace.

    Examples
    --------
    >>> is_secret("postgresql://me:secret@host/runs"), is_secret("postgresql://me@host/runs")
    (True, False)
    """
    return hide_secrets(text) != text


def is_address(text: str) -> bool:
    """Check whether an address can be parsed: its port is a number, an @ in a password is %40.

    Examples
    --------
    >>> is_address("postgresql://me:p%40ss@host:5432/runs"), is_address("http://host:notaport")
    (True, False)
    """
    try:
        parts = urlsplit(text)
        if not parts.scheme.startswith(_WITH_HOST):
            return True
        parts.port  # noqa: B018 - it is read to be checked
    except ValueError:
        return False
    return "@" not in parts.netloc or text.partition("?")[0].count("@") == 1
