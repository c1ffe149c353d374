"""Addresses of stores and storages, as people and files may see them: without what is secret in them."""

from __future__ import annotations

import re

HIDDEN = "***"

# Up to the last @, as whoever forgets to write one in a password as %40 has two.
_PASSWORD = re.compile(r"(?P<user>://[^\s:/@?]*):[^\s]*@")
# What stands alone before the @ of a web address is a key, not a user's name.
_KEY = re.compile(r"(?P<scheme>\bhttps?://)[^\s:/@?]+@", re.IGNORECASE)
_PARAMETER = re.compile(
    r"(?P<name>\b[\w.-]*(?:password|passwd|pwd|passphrase|token|secret|credential|api[_-]?key|"
    r"access[_-]?key|signature|\bsig)[\w.-]*=)[^\s&;'\"]+",
    re.IGNORECASE,
)
_WELL_FORMED = re.compile(r"[\w+.-]+://[^/]")
_BEFORE_HOST = re.compile(r".*@", re.DOTALL)


def redacted(text: str) -> str:
    """A text without the secrets of the addresses in it.

    Hidden are passwords before an @, keys that stand before the @ of a web address, and parameters
    whose names say that they are secret, such as password, token, or sslpassword.

    Parameters
    ----------
    text : str
        An address, or a sentence that has some, such as another library's error.

    Examples
    --------
    >>> redacted("postgresql://me:secret@host/runs?sslpassword=more&timeout=5")
    'postgresql://me:***@host/runs?sslpassword=***&timeout=5'
    >>> redacted("no answer from https://me:secret@host/api, nor from sqlite:////data/mlflow.db")
    'no answer from https://me:***@host/api, nor from sqlite:////data/mlflow.db'
    """
    text = _PASSWORD.sub(rf"\g<user>:{HIDDEN}@", text)
    text = _KEY.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _PARAMETER.sub(rf"\g<name>{HIDDEN}", text)


def redacted_address(text: str) -> str:
    """What was meant to be one address, also where it is misspelt: `redacted`, and nothing before an @.

    Examples
    --------
    >>> redacted_address("postgresql:/me:secret@host/runs")
    '***@host/runs'
    """
    # A blank in a password would end it otherwise.
    text = text.replace(" ", "%20")
    return redacted(text if _WELL_FORMED.match(text) else _BEFORE_HOST.sub(f"{HIDDEN}@", text))


def is_secret(text: str) -> bool:
    """Whether a text has something that `redacted` hides.

    Examples
    --------
    >>> is_secret("postgresql://me:secret@host/runs"), is_secret("postgresql://me@host/runs")
    (True, False)
    """
    return redacted(text) != text
