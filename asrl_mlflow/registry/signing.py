"""Sign what a version is, and refuse a version that no trusted key has signed.

Format and cryptography are those of OpenSSF's model-signing, by its own library; this file only says what is
signed: every file of a model, and beside them one file with the version's name and number. The library is
imported where it is needed, as it is optional and takes a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from asrl_mlflow.errors import InputError

if TYPE_CHECKING:
    from model_signing.hashing import Config as Hashing
    from model_signing.verifying import Config as Verifier

Keys = Sequence[str | Path]

SIGNATURE_TAG = "asrl.signature"
# Signed with the model's files, and in their folder only while they are signed or checked.
ADDRESS_FILE = "signed_version.json"
_PRIVATE, _PUBLIC = "a private key without a password", "public keys"


def sign(folder: Path, name: str, version: str, key: str | Path) -> str:
    """Sign a model's files as one version of a registered model.

    Parameters
    ----------
    folder : Path
        The files. They must be your own copy: what lies in it is what is signed.
    name : str
        The name of the registered model.
    version : str
        The version's number.
    key : str or Path
        The private key, a PEM file without a password.

    Returns
    -------
    str
        The signature, as JSON: a Sigstore bundle.

    Raises
    ------
    InputError
        The key cannot be used, or the package model-signing is not installed.

    Examples
    --------
    >>> import tempfile
    >>> key, public = make_keys(Path(tempfile.mkdtemp()))
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "model.txt").write_text("a + b x")
    >>> signature = sign(folder, "line", "1", key)
    >>> check_signature(folder, "line", "1", signature, read_keys([public]))
    >>> try:
    ...     check_signature(folder, "line", "2", signature, read_keys([public]))
    ... except InputError as error:
    ...     print(str(error).split(";")[0])
    models:/line/2: must be signed by a trusted key
    """
    require_library()
    from model_signing import signing  # noqa: PLC0415 - optional

    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=Path(key))
    except Exception as error:
        raise _key_error(_PRIVATE, key) from error
    with _address(folder, name, version), TemporaryDirectory() as aside:
        file = Path(aside) / "signature.json"
        signer.set_hashing_config(_every_file()).sign(folder, file)
        return file.read_text(encoding="utf-8")


def read_keys(trusted: Keys) -> list[Verifier]:
    """Read the public keys that are trusted.

    Parameters
    ----------
    trusted : sequence of str or Path
        PEM files, one at least.

    Raises
    ------
    InputError
        There is none, one cannot be used, or the package model-signing is not installed.

    Examples
    --------
    >>> read_keys([])
    Traceback (most recent call last):
    asrl_mlflow.errors.InputError: A required signature needs a public key to trust; got none; name one.
    """
    require_library()
    from model_signing import verifying  # noqa: PLC0415 - optional

    if not trusted:
        # Not the same as no signature required: a list may be empty by mistake.
        msg = "A required signature needs a public key to trust; got none; name one."
        raise InputError(msg)
    keys = []
    for path in trusted:
        try:
            keys.append(verifying.Config().use_elliptic_key_verifier(public_key=Path(path)))
        except Exception as error:
            raise _key_error(_PUBLIC, path) from error
    return keys


def check_signature(
    folder: Path, name: str, version: str, signature: str, keys: Sequence[Verifier]
) -> None:
    """Refuse files that no trusted key has signed as this version.

    Files are only hashed, not parsed.

    Parameters
    ----------
    folder : Path
        A private copy of the files.
    name, version : str
        The version that they must have been signed as.
    signature : str
        What `sign` returned; empty where there is none.
    keys : sequence
        What `read_keys` returned.

    Raises
    ------
    InputError
        No key of these has signed exactly these files as this version.
    """
    owner = f"models:/{name}/{version}"
    if not signature:
        raise _refusal(owner, "no signature")
    try:
        with _address(folder, name, version), TemporaryDirectory() as aside:
            file = Path(aside) / "signature.json"
            file.write_bytes(signature.encode(errors="replace"))
            if any(_is_signed(folder, file, key) for key in keys):
                return
    except FileExistsError as error:
        raise _refusal(owner, f"a file {ADDRESS_FILE!r} among its own") from error
    raise _refusal(owner, "the signature of another key, or of other files, another name or number")


@contextmanager
def public_half(key: str | Path | None) -> Iterator[list[Path] | None]:
    """Write the public half of a private key into a temporary file, to trust what that key signs.

    Parameters
    ----------
    key : str or Path, optional
        The private key; without one nothing is written.

    Yields
    ------
    list of Path, or None
        The file, deleted afterwards.

    Raises
    ------
    InputError
        The key cannot be used, or the package model-signing is not installed.

    Examples
    --------
    >>> import tempfile
    >>> key, public = make_keys(Path(tempfile.mkdtemp()))
    >>> with public_half(key) as (file,):
    ...     file.read_text() == public.read_text()
    True
    """
    if key is None:
        yield None
        return
    require_library()
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - with the library
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        public = load_pem_private_key(Path(key).read_bytes(), None).public_key()
    except Exception as error:
        raise _key_error(_PRIVATE, key) from error
    with TemporaryDirectory() as aside:
        file = Path(aside) / "public.pem"
        file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        try:
            read_keys([file])
        except InputError as error:
            raise _key_error(_PRIVATE, key) from error
        yield [file]


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Make a key of the curve P-256 to sign with, for trials and tests.

    Parameters
    ----------
    folder : Path
        Where private.pem, which only its owner may read, and public.pem are written.

    Returns
    -------
    tuple of Path
        The private and the public key.

    Examples
    --------
    >>> import tempfile
    >>> private, public = make_keys(Path(tempfile.mkdtemp()))
    >>> oct(private.stat().st_mode)[-3:], public.read_text().splitlines()[0]
    ('600', '-----BEGIN PUBLIC KEY-----')
    """
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - with the library
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - with the library
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "private.pem", folder / "public.pem"
    private.touch(mode=0o600, exist_ok=False)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def require_library() -> None:
    """Refuse to go on without the package model-signing.

    Raises
    ------
    InputError
        It is not installed, or cannot be imported.
    """
    try:
        import model_signing  # noqa: F401, PLC0415 - whether it can be imported is the question
    except ImportError as error:
        msg = (
            "Signatures need the package model-signing; got an environment without it "
            f"({error}); install it: pip install 'asrl-mlflow[signing]'."
        )
        raise InputError(msg) from error


def _every_file() -> Hashing:
    """Give the rule of which files are signed: all, those of git too, which the library leaves out."""
    from model_signing import hashing  # noqa: PLC0415 - optional

    return hashing.Config().set_ignored_paths(paths=(), ignore_git_paths=False)


@contextmanager
def _address(folder: Path, name: str, version: str) -> Iterator[None]:
    """Keep the version's name and number in the folder for a while; what lies there is not overwritten."""
    file = folder / ADDRESS_FILE
    with file.open("x", encoding="utf-8") as opened:
        json.dump({"name": name, "version": version}, opened)
    try:
        yield
    finally:
        file.unlink()


def _is_signed(folder: Path, signature: Path, key: Verifier) -> bool:
    """Check whether a key has signed exactly what lies in a folder."""
    try:
        key.set_hashing_config(_every_file()).verify(folder, signature)
    except Exception:  # noqa: BLE001 - a forged signature may be anything: what cannot be read is none
        return False
    return True


def _refusal(owner: str, got: str) -> InputError:
    """Make the error for a version that is not signed as it must be."""
    return InputError(
        f"{owner}: must be signed by a trusted key; got {got}; register its run anew with --sign, or trust "
        "the key that signed it. Nothing of it was loaded."
    )


def _key_error(kind: str, path: str | Path) -> InputError:
    """Make the error for a file that has no key of the kind that is needed."""
    return InputError(
        f"Signatures need {kind} of an elliptic curve (P-256, P-384 or P-521) in PEM files; got {str(path)!r}, "
        "where none can be read; name another."
    )
