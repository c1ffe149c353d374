"""Signatures: what no trusted key has signed is refused, whoever wrote the files and the tags."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from asrl_mlflow import registry
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.errors import InputError
from asrl_mlflow.registry import signing
from asrl_mlflow.registry.manifest import make_manifest
from asrl_mlflow.registry.versions import MANIFEST_TAG, RECORD_TAG
from benchmarks.faults.signing import count_outcomes, versions
from tests.processes import ROOT
from tests.stores import newest

NAME = "asrl-diabetes"
URI = f"models:/{NAME}/1"
OPENERS = (
    registry.find,
    registry.load,
    registry.load_booster,
    registry.load_columns,
    registry.load_unseen_residuals,
)
EVIL = "open('executed', 'w')\n"


@pytest.fixture
def train(flow, store):
    """Train a run as a user does; gives its id."""

    def call(*options):
        code, _, err = flow("train", "--rounds=3", "--figures=false", *options)
        assert code == 0, err
        return newest(store)

    return call


@pytest.fixture
def keys(tmp_path):
    """A private key and its public half."""
    (tmp_path / "keys").mkdir()
    return registry.make_keys(tmp_path / "keys")


@pytest.fixture
def strangers(tmp_path):
    """The keys of somebody else."""
    (tmp_path / "others").mkdir()
    return registry.make_keys(tmp_path / "others")


def files_of(store, version="1", name=NAME):
    """The folder of a version's model, as who can write the store has it."""
    source = store.get_model_version(name, version).source
    return Path(store.get_logged_model(source.removeprefix("models:/")).artifact_location)


def tag(store, key, value, version="1", name=NAME):
    store.set_model_version_tag(name, version, key, value)


def forge(store, version="1", name=NAME):
    """Put code into a version's files and write the manifest that belongs to it."""
    folder = files_of(store, version, name)
    (folder / "model.py").write_text(EVIL + (folder / "model.py").read_text())
    tag(store, MANIFEST_TAG, make_manifest(folder), version, name)


def refusal(opened, uri, trusted):
    """The one line by which a version is refused."""
    with pytest.raises(InputError) as refused:
        opened(uri, trusted=[trusted])
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_signed_version_is_loaded_where_its_key_is_trusted(train, store, keys, strangers):
    (private, public), run_id = keys, train()
    version = registry.register(run_id, key=private)
    assert (version.uri, version.is_new) == (URI, True)
    for opened in OPENERS:
        assert opened(URI, trusted=[strangers[1], public]) is not None
    assert registry.find(f"models:/{NAME}@challenger", trusted=[public]).record == version.record
    rows = load().rows.features
    for model in (registry.load(URI, trusted=[public]), registry.load(URI)):
        assert len(model.predict(rows)) == 442
    assert len(mlflow.pyfunc.load_model(URI).predict(rows)) == 442, "MLflow needs no signature"
    again = registry.register(run_id, key=private)
    assert (again.uri, again.is_new) == (URI, False)
    assert registry.register(run_id).uri == URI


def test_a_version_that_no_trusted_key_has_signed_is_refused(train, store, keys, strangers):
    run_id = train()
    unsigned = registry.register(run_id).uri
    signed = registry.register(run_id, key=strangers[0]).uri
    for opened in OPENERS:
        assert refusal(opened, unsigned, keys[1]) == (
            f"{unsigned}: must be signed by a trusted key; got no signature; register its run anew with "
            "--sign, or trust the key that signed it. Nothing of it was loaded."
        )
        assert "got the signature of another key" in refusal(opened, signed, keys[1])


def test_who_can_write_files_and_tags_cannot_have_code_run(train, store, keys):
    private, public = keys
    registry.register(train(), key=private)
    forge(store)
    with registry.open_verified(URI):
        pass  # the manifest alone says nothing against it
    for opened in OPENERS:
        assert "must be signed by a trusted key" in refusal(opened, URI, public)
    assert not Path("executed").exists()


def test_a_signature_is_of_one_name_and_one_number(train, store, keys):
    private, public = keys
    first, second = train(), train("--loss=huber")
    for run_id, name in ((first, NAME), (second, NAME), (first, "other")):
        registry.register(run_id, name, key=private)
    genuine = store.get_model_version(NAME, "1").tags
    for name, number in ((NAME, "2"), ("other", "1")):
        for file in files_of(store).rglob("*"):
            if file.is_file():
                place = files_of(store, number, name) / file.relative_to(files_of(store))
                place.write_bytes(file.read_bytes())
        for key in (MANIFEST_TAG, RECORD_TAG):
            tag(store, key, genuine[key], number, name)
        uri = f"models:/{name}/{number}"
        with registry.open_verified(uri):
            pass  # by its manifest it is what was registered
        own = store.get_model_version(name, number).tags[signing.SIGNATURE_TAG]
        for signature in (own, genuine[signing.SIGNATURE_TAG]):
            tag(store, signing.SIGNATURE_TAG, signature, number, name)
            assert "another name or number" in refusal(registry.load, uri, public)


def test_a_store_that_answers_with_another_signed_version_is_refused(
    train, store, keys, monkeypatch
):
    private, public = keys
    for loss in ("asrl_c", "huber"):
        registry.register(train(f"--loss={loss}"), key=private)
    answer = store.get_model_version(NAME, "1")
    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version", lambda *_: answer)
    assert registry.find(f"models:/{NAME}/2").version == "1"
    for opened in OPENERS:
        assert f"got {URI}" in refusal(opened, f"models:/{NAME}/2", public)


def test_the_record_in_use_is_the_signed_one_whatever_the_tags_say(train, store, keys):
    private, public = keys
    version = registry.register(train(), key=private)
    for key in ("asrl.loss", "asrl.rounds", "asrl.booster"):
        tag(store, key, "9")
    assert registry.find(URI, trusted=[public]).record == version.record
    record = json.loads(version.record.to_json())
    record["loss"]["params"]["q_low"] = 0.1
    tag(store, RECORD_TAG, json.dumps(record))
    assert registry.find(URI).record.loss == record["loss"]
    for opened in OPENERS:
        assert "must be that of its files" in refusal(opened, URI, public)
    file = files_of(store) / "artifacts/loss.json"
    file.write_text(json.dumps(record))
    tag(store, MANIFEST_TAG, make_manifest(files_of(store)))
    for opened in OPENERS:
        assert "must be signed by a trusted key" in refusal(opened, URI, public)


def test_what_lies_in_the_store_unsigned_is_never_signed(train, store, keys):
    private, public = keys
    run_id = train()
    registry.register(run_id)
    forge(store)
    assert "model.py" in make_manifest(files_of(store))
    signed = registry.register(run_id, key=private)
    assert (signed.version, signed.is_new) == ("2", True)
    assert signing.SIGNATURE_TAG not in store.get_model_version(NAME, "1").tags
    registry.load(signed.uri, trusted=[public])
    assert not Path("executed").exists()


def test_the_file_with_name_and_number_is_there_only_while_files_are_checked(train, store, keys):
    private, public = keys
    registry.register(train(), key=private)
    place = files_of(store) / signing.ADDRESS_FILE
    place.write_text("theirs")
    genuine = store.get_model_version(NAME, "1").tags[MANIFEST_TAG]
    tag(store, MANIFEST_TAG, make_manifest(files_of(store)))
    assert f"a file {signing.ADDRESS_FILE!r} among its own" in refusal(registry.load, URI, public)
    place.unlink()
    tag(store, MANIFEST_TAG, genuine)
    with registry.open_verified(URI, trusted=[public]) as folder:
        assert not (folder / signing.ADDRESS_FILE).exists()


def test_the_commands_sign_and_refuse_what_is_not_signed(
    train, flow, store, keys, strangers, monkeypatch
):
    (private, public), run_id = keys, train()
    load().rows.features.to_csv("in.csv", index=False)
    code, out, err = flow("register", f"--run-id={run_id}", f"--sign={private}")
    assert (code, err) == (0, "")
    assert f"{URI}: registered, signed, alias challenger" in out
    assert flow("register", f"--run-id={run_id}", "--registered-model=unsigned")[0] == 0
    uri = f"--model-uri=models:/{NAME}@champion"
    trust = f"--require-signature={strangers[1]},{public}"
    assert flow("predict", uri, "--data=in.csv", trust)[0] == 0
    assert flow("train", uri, "--rounds=1", "--figures=false", trust)[0] == 0
    Path("predictions.parquet").unlink()
    calls = (("predict", "--data=in.csv"), ("serve",), ("train", "--rounds=1", "--figures=false"))
    for name, *options in calls:
        for model, trusted, got in (
            ("unsigned", trust, "got no signature"),
            (NAME, f"--require-signature={strangers[1]}", "got the signature of another key"),
            (NAME, "--require-signature=,", "needs a public key to trust; got none"),
            (NAME, "--require-signature=in.csv", "got 'in.csv', where none can be read"),
        ):
            code, _, err = flow(name, f"--model-uri=models:/{model}@champion", *options, trusted)
            assert (code, len(err.splitlines())) == (2, 1), err
            assert got in err
        monkeypatch.setenv("ASRL_REQUIRE_SIGNATURE", str(strangers[1]))
        code, _, err = flow(name, uri, *options, "--require-signature=")
        assert (code, "got the signature of another key" in err) == (2, True)
        monkeypatch.delenv("ASRL_REQUIRE_SIGNATURE")
    code, _, err = flow("register", f"--run-id={run_id}", trust)
    assert (code, "needs a key to sign with" in err) == (2, True)
    assert not Path("predictions.parquet").exists()


def test_who_signs_runs_no_code_of_an_unsigned_version(train, flow, store, keys):
    private, public = keys
    table = load()
    frame = table.rows.features.assign(disease_progression=table.rows.target)
    frame.head(400).to_csv("new.csv", index=False)
    assert flow("register", f"--run-id={train('--loss=huber')}")[0] == 0
    forge(store)
    sign = ["register", f"--run-id={train()}", f"--sign={private}"]
    for options in ([], ["--test=new.csv"]):
        code, _, err = flow(*sign, *options)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "got no signature" in err
        assert "--force=true" in err
    assert flow(*sign, "--force=true")[0] == 0
    code, out, err = flow(
        "register", f"--run-id={train('--rounds=30')}", f"--sign={private}", "--test=new.csv"
    )
    assert (code, "over version 2: MAE -" in out) == (0, True), err
    assert registry.load(f"models:/{NAME}@champion", trusted=[public])
    assert not Path("executed").exists()


def private_pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture(scope="module")
def useless():
    """What no version can be signed by."""
    p256 = ec.generate_private_key(ec.SECP256R1())
    return {
        "another kind": private_pem(rsa.generate_private_key(65537, 2048)),
        "another curve": private_pem(ec.generate_private_key(ec.SECP256K1())),
        "a password": private_pem(p256, BestAvailableEncryption(b"secret")),
        "text": b"secret",
        "nothing": b"",
    }


@pytest.mark.parametrize(
    "kind",
    ["another kind", "another curve", "a password", "text", "nothing", "a folder", "missing"],
)
def test_a_key_that_cannot_be_used_is_one_line_before_anything_is_done(
    flow, store, tmp_path, useless, kind
):
    if kind in useless:
        Path("key").write_bytes(useless[kind])
    elif kind == "a folder":
        Path("key").mkdir()
    for options, what in (
        (["register", "--run-id=1", "--sign=key"], "a private key without a password"),
        (
            ["predict", "--model-uri=models:/a/1", "--data=in.csv", "--require-signature=key"],
            "public",
        ),
    ):
        code, _, err = flow(*options)
        assert (code, len(err.splitlines())) == (2, 1), err
        assert f"Signatures need {what}" in err
        assert "got 'key', where none can be read" in err
        assert "secret" not in err
    with pytest.raises(InputError, match="a private key without a password"):
        signing.sign(tmp_path, "a", "1", "key")


def test_keys_of_every_curve_of_the_format_sign(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"1")
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        private = tmp_path / "private.pem"
        private.write_bytes(private_pem(ec.generate_private_key(curve)))
        signature = signing.sign(tmp_path / "model", "a", "1", private)
        with signing.public_half(private) as trusted:
            keys = signing.read_keys(trusted)
            signing.check_signature(tmp_path / "model", "a", "1", signature, keys)


def test_without_the_library_a_line_tells_how_to_install_it(flow, store, keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for options in (
        ["register", "--run-id=1", f"--sign={keys[0]}"],
        ["serve", "--model-uri=models:/a/1", f"--require-signature={keys[1]}"],
    ):
        code, _, err = flow(*options)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "install it: pip install 'asrl-mlflow[signing]'" in err


def test_the_library_is_loaded_only_where_signatures_are_asked_for():
    check = "import sys, flows.register, flows.serve; print({'model_signing', 'sigstore'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "set()"


def test_the_format_is_that_of_openssf_whose_own_command_verifies_it(train, store, keys):
    private, public = keys
    registry.register(train(), key=private)
    tags = store.get_model_version(NAME, "1").tags
    Path("model.sig").write_text(tags[signing.SIGNATURE_TAG])
    with registry.open_verified(URI) as folder:
        (folder / signing.ADDRESS_FILE).write_text(f'{{"name": "{NAME}", "version": "1"}}')
        command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
        command += ["--signature", "model.sig", "--public_key", str(public)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "model.py").write_text(EVIL)
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_a_signature_fits_into_a_tag_many_times(train, store, keys):
    registry.register(train(), key=keys[0])
    signature = store.get_model_version(NAME, "1").tags[signing.SIGNATURE_TAG]
    assert len(signature) < 5_000, "MLflow takes 100,000"
    assert str(Path.cwd()) not in signature


def test_of_hundreds_of_mutations_of_files_and_tags_none_is_accepted(store, tmp_path):
    counts = count_outcomes(versions(tmp_path), tmp_path / "attacked", mutations=300, seed=0)
    assert counts.total() == 300
    assert {what for what, result in counts if result == "FORGED"} == set()
    refused = {what for what, result in counts if result == "refused"}
    assert len(refused) == 5, "every way of changing things"
