"""What signatures hold against, and what they cost: forged versions of files and tags, and 10 MB checked.

pip install 'asrl-mlflow[signing]'
python benchmarks/faults/signing.py --mutations=100000
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from unittest import mock

import click
import mlflow
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag

from asrl_mlflow import registry, tracking
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.experiment import prepare_split, run_experiment
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import BaseLoss, ContinuousASRL, Huber
from asrl_mlflow.registry.manifest import make_manifest
from asrl_mlflow.registry.signing import (
    ADDRESS_FILE,
    SIGNATURE_TAG,
    check_signature,
    read_keys,
    sign,
)
from asrl_mlflow.registry.versions import MANIFEST_TAG, RECORD_TAG, check_copy

NAME, RECORD = "signed", "artifacts/loss.json"


@dataclass(frozen=True)
class Stored:
    """What a store has of a version."""

    files: Mapping[str, bytes]
    tags: Mapping[str, str]

    @classmethod
    def read(cls, uri: str) -> Stored:
        """Read a version's files and tags."""
        name, number = uri.removeprefix("models:/").split("/")
        tags = mlflow.MlflowClient().get_model_version(name, number).tags
        with registry.open_verified(uri) as folder:
            return cls(files_in(folder), tags)

    def put(self, folder: Path) -> None:
        """Write the files into a folder that is made anew."""
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def files_in(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """Flip a bit, overwrite, cut, lengthen, insert, drop, repeat or empty."""
    at = random.randrange(len(content) + 1)
    before, after, byte = content[:at], content[at:], random.randbytes(1)
    flipped = bytes(each ^ 1 << random.randrange(8) for each in after[:1])
    ways = (
        before + flipped + after[1:],
        before + byte + after[1:],
        before,
        content + byte,
        before + byte + after,
        before + after[1:],
        before + content[at // 2 :],
        b"",
    )
    return random.choice(ways)


def mutate_text(text: str, random: Random) -> str:
    """Change a text as bytes are changed."""
    return mutate_bytes(text.encode(), random).decode(errors="replace")


def mutate_json(value: Any, random: Random) -> Any:  # noqa: ANN401 - any JSON
    """Change, remove or add one thing somewhere in a JSON value."""
    changed: Any = [value]
    deeper: Any
    if isinstance(value, dict) and value:
        key = random.choice(list(value))
        rest = {each: content for each, content in value.items() if each != key}
        twice = value | {f"{key}_": value[key]}
        deeper = value | {key: mutate_json(value[key], random)}
        changed = random.choice((rest, twice, *[deeper] * 8))
    elif isinstance(value, list) and value:
        at = random.randrange(len(value))
        before, after = value[:at], value[at + 1 :]
        deeper = [*before, mutate_json(value[at], random), *after]
        changed = random.choice(([*before, *after], *[deeper] * 3))
    elif isinstance(value, bool) or value is None:
        changed = not value
    elif isinstance(value, int | float):
        changed = random.choice((value + 1, -value - 1))
    elif isinstance(value, str):
        changed = mutate_text(value, random)
    return changed


def mutate_files(stored: Stored, other: Stored, random: Random) -> dict[str, bytes]:
    """Change, remove, add, swap, rename or take over files."""
    files = dict(stored.files)
    name, second = random.sample(sorted(files), 2)
    rest = {each: content for each, content in files.items() if each != name}
    added = random.choice(("code/evil.py", ".git/evil.py", ".gitignore", ADDRESS_FILE, f"{name}~"))
    record = json.dumps(mutate_json(json.loads(files[RECORD]), random)).encode()
    ways: tuple[dict[str, bytes], ...] = (
        rest,
        files | {added: random.randbytes(random.randrange(20))},
        files | {name: files[second], second: files[name]},
        rest | {f"{name}.old": files[name]},
        files | {name: other.files[name]},
        files | {RECORD: record},
        *[files | {name: mutate_bytes(files[name], random)}] * 4,
    )
    return random.choice(ways)


def mutate_signature(signature: str, files: Mapping[str, bytes], random: Random) -> str:
    """Change a signature's text, its JSON, or what is signed, so that it names the files as they are."""
    bundle = json.loads(signature)
    envelope = bundle["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    digests = json.loads(_manifest(files)) | {ADDRESS_FILE: _digest_in(statement)}
    resources = [
        {"name": name, "algorithm": "sha256", "digest": digest}
        for name, digest in sorted(digests.items())
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()
    subject = [statement["subject"][0] | {"digest": {"sha256": root}}]
    named = statement | {
        "subject": subject,
        "predicate": statement["predicate"] | {"resources": resources},
    }
    ways = (
        mutate_text(signature, random),
        json.dumps(mutate_json(bundle, random)),
        *(
            json.dumps(bundle | {"dsseEnvelope": envelope | {"payload": _base64(each)}})
            for each in (mutate_json(statement, random), named)
        ),
    )
    return random.choice(ways)


def _digest_in(statement: Mapping[str, Any]) -> str:
    """Find the digest of the file with name and number, which an attacker would keep."""
    resources = statement["predicate"]["resources"]
    return next((each["digest"] for each in resources if each["name"] == ADDRESS_FILE), "00" * 32)


def _base64(statement: object) -> str:
    return base64.b64encode(json.dumps(statement).encode()).decode()


def _manifest(files: Mapping[str, bytes]) -> str:
    """Make the manifest that an attacker would write into the tag."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return json.dumps(digests, sort_keys=True)


def _only_files(stored: Stored, other: Stored, random: Random) -> Stored:
    return Stored(mutate_files(stored, other, random), stored.tags)


def _files_and_tags(stored: Stored, other: Stored, random: Random) -> Stored:
    """Change files, and write the tags that belong to them."""
    files = mutate_files(stored, other, random)
    tags = dict(stored.tags) | {MANIFEST_TAG: _manifest(files)}
    with contextlib.suppress(ValueError, KeyError):
        tags[RECORD_TAG] = json.dumps(json.loads(files[RECORD]))
    if random.random() < 0.5:  # noqa: PLR2004 - half of them
        tags[SIGNATURE_TAG] = mutate_signature(tags[SIGNATURE_TAG], files, random)
    return Stored(files, tags)


def _signature(stored: Stored, _: Stored, random: Random) -> Stored:
    signature = mutate_signature(stored.tags[SIGNATURE_TAG], stored.files, random)
    return Stored(stored.files, dict(stored.tags) | {SIGNATURE_TAG: signature})


def _tags(stored: Stored, other: Stored, random: Random) -> Stored:
    """Remove, take over or change a tag."""
    tag = random.choice((MANIFEST_TAG, RECORD_TAG, SIGNATURE_TAG))
    rest = {key: value for key, value in stored.tags.items() if key != tag}
    values = (
        other.tags.get(tag, ""),
        json.dumps(mutate_json(json.loads(stored.tags[tag]), random)),
        mutate_text(stored.tags[tag], random),
    )
    return Stored(stored.files, random.choice((rest, *(rest | {tag: each} for each in values))))


def _another_version(stored: Stored, other: Stored, random: Random) -> Stored:
    """Put another version in its place, with the signature of either, changed or not."""
    files = random.choice((dict(other.files), mutate_files(other, stored, random)))
    signatures = [each.tags.get(SIGNATURE_TAG, "") for each in (stored, other)]
    tags = dict(other.tags) | {MANIFEST_TAG: _manifest(files)}
    return Stored(files, tags | {SIGNATURE_TAG: random.choice(signatures)})


ATTACKS: dict[str, Callable[[Stored, Stored, Random], Stored]] = {
    "files": _only_files,
    "files and tags": _files_and_tags,
    "signature": _signature,
    "tags": _tags,
    "another version": _another_version,
}


@contextlib.contextmanager
def store_of(stored: Stored, folder: Path, uri: str) -> Iterator[None]:
    """Answer for MLflow's client with what an attacker has put there; MLflow still copies the files."""
    stored.put(folder)
    name, number = uri.removeprefix("models:/").split("/")
    client = mock.Mock()
    tags = [ModelVersionTag(key, value) for key, value in stored.tags.items()]
    client.get_model_version.return_value = ModelVersion(name, number, 0, run_id="", tags=tags)
    client.get_model_version_download_uri.return_value = str(folder)
    with mock.patch.object(mlflow, "MlflowClient", return_value=client):
        yield


def outcome(forged: Stored, genuine: Stored, uri: str, trusted: Path, folder: Path) -> str:
    """Say what a mutation came to: refused, the same (all that is opened is as it was signed), or FORGED."""
    # The library warns of signatures whose key has no name, on standard output.
    with store_of(forged, folder, uri), contextlib.redirect_stdout(io.StringIO()):
        try:
            with registry.open_verified(uri, trusted=[trusted]) as opened:
                return "the same" if files_in(opened) == genuine.files else "FORGED"
        except InputError:
            return "refused"


def versions(folder: Path) -> tuple[str, Path, Stored, list[Stored]]:
    """Register what is attacked: a signed version, and others to take parts from.

    Returns
    -------
    tuple
        The version's address, the key to trust, what the store has of it, and what it has of a version of
        the same key under another number, under another name, of another key, and of none.
    """
    runs = [_train(loss) for loss in (ContinuousASRL(), Huber())]
    keys = []
    for each in ("mine", "theirs"):
        (folder / each).mkdir()
        keys.append(registry.make_keys(folder / each))
    (mine, public), (theirs, _) = keys
    uri = registry.register(runs[0], NAME, key=mine).uri
    others = [
        registry.register(run, name, key=key).uri
        for run, name, key in (
            (runs[1], NAME, mine),
            (runs[0], "other", mine),
            (runs[0], NAME, theirs),
            (runs[1], "unsigned", None),
        )
    ]
    return uri, public, Stored.read(uri), list(map(Stored.read, others))


def _train(loss: BaseLoss) -> str:
    """Train a small model in a run; gives its id."""
    table, kind = load(), Contamination()
    parts = prepare_split(table, 0, kind)
    with tracking.run(loss.label, flow="signing") as log:
        run_experiment(
            loss,
            table,
            parts,
            log,
            seed=0,
            settings=Settings(rounds=8, max_depth=3, figures=False),
            contamination=kind,
            on_round=lambda _: None,
        )
        return log.run_id


def count_outcomes(
    found: tuple[str, Path, Stored, list[Stored]], folder: Path, mutations: int, seed: int
) -> Counter[tuple[str, str]]:
    """Count what so many mutations came to, by what was changed."""
    uri, public, genuine, others = found
    random, counts = Random(seed), Counter[tuple[str, str]]()  # noqa: S311 - to be repeated
    if outcome(genuine, genuine, uri, public, folder) != "the same":
        msg = "The version as it was signed must be accepted; else it means nothing that others are refused."
        raise RuntimeError(msg)
    while counts.total() < mutations:
        what = random.choice(list(ATTACKS))
        forged = ATTACKS[what](genuine, random.choice(others), random)
        if forged != genuine:
            counts[what, outcome(forged, genuine, uri, public, folder)] += 1
    return counts


def cost(folder: Path, megabytes: int, times: int) -> tuple[float, float]:
    """Median milliseconds of the manifest's check of so many megabytes, and of the signature's beside it."""
    (folder / "keys").mkdir(parents=True)
    model = folder / "model"
    key, public = registry.make_keys(folder / "keys")
    Stored({"booster.ubj": os.urandom(megabytes * 1_000_000), "MLmodel": b"x"}, {}).put(model)
    recorded, signature = make_manifest(model), sign(model, NAME, "1", key)
    steps: tuple[Callable[[], object], ...] = (
        lambda: check_copy(model, recorded, NAME),
        lambda: check_signature(model, NAME, "1", signature, read_keys([public])),
    )
    taken: list[list[float]] = [[], []]
    for _ in range(times):
        for step, seconds in zip(steps, taken, strict=True):
            began = time.perf_counter()
            step()
            seconds.append(1_000 * (time.perf_counter() - began))
    first, second = map(median, taken)
    return first, second


@click.command()
@click.option("--mutations", default=100_000)
@click.option("--megabytes", default=10)
@click.option("--seed", default=0)
def main(mutations: int, megabytes: int, seed: int) -> None:
    """Print what mutations came to, and what the checks cost."""
    with tempfile.TemporaryDirectory() as aside, contextlib.chdir(aside):
        tracking.connect()
        plain, signature = cost(Path("cost"), megabytes, times=31)
        print(
            f"{megabytes} MB: manifest {plain:.1f} ms, signature {signature:.1f} ms more (medians of 31)"
        )
        found = versions(Path(aside))
        print(f"signature: {len(found[2].tags[SIGNATURE_TAG])} characters")
        began = time.perf_counter()
        counts = count_outcomes(found, Path(aside) / "store", mutations, seed)
        seconds = time.perf_counter() - began
    results = ("refused", "the same", "FORGED")
    print(f"{'changed':18}" + "".join(f"{each:>10}" for each in results))
    for what in sorted({what for what, _ in counts}):
        print(f"{what:18}" + "".join(f"{counts[what, each]:10}" for each in results))
    total = {
        each: sum(n for (_, result), n in counts.items() if result == each) for each in results
    }
    print(
        f"{'all':18}" + "".join(f"{total[each]:10}" for each in results) + f"  in {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
