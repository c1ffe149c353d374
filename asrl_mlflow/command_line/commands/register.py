"""From a run to a version of a registered model; champion only if it is better on the same rows."""

from __future__ import annotations

from typing import Any

import click

from asrl_mlflow import registry, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_file, complete_model
from asrl_mlflow.command_line.given import option
from asrl_mlflow.command_line.options import LONGEST_NAME, SIGNATURE, options
from asrl_mlflow.command_line.running import end
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.errors import InputError
from asrl_mlflow.registry.promotion import CHAMPION, FORCED_TAG, Promotion, check_alias, promote
from asrl_mlflow.registry.registration import CHALLENGER
from asrl_mlflow.registry.signing import public_half
from asrl_mlflow.registry.versions import RegisteredVersion

REGISTERED_MODEL = (
    option(
        "--registered-model",
        shell_complete=complete_model,
        longest=LONGEST_NAME,
        help="Its name.  [default: asrl-<name of the data>]",
    ),
)


@click.command("register", cls=Command, interrupted="call it again to go on")
@options(
    (
        option("--run-id", help="A run of train or tune, or a child run of compare or main."),
        option(
            "--study",
            longest=LONGEST_NAME,
            help="A study, whose best was trained at its end.",
        ),
    ),
    REGISTERED_MODEL,
    (
        option(
            "--alias",
            longest=LONGEST_NAME,
            default=CHAMPION,
            help=f"To have if the version is better than the one that has it; {CHALLENGER}, which every "
            "version gets, asks for no more.",
        ),
        option(
            "--force", type=bool, default=False, help="Give the alias whatever the comparison says."
        ),
        option(
            "--test",
            shell_complete=complete_file,
            help="Rows that neither version has seen, to compare on: .csv or .parquet.  [default: the test "
            "rows of both runs, if they are the same]",
        ),
        option(
            "--sign",
            shell_complete=complete_file,
            help="A private key, a PEM file without a password, to sign the version with; versions that it "
            "is compared with must then be signed too, by this key or one of --require-signature.",
        ),
        option(
            "--signature",
            type=bool,
            default=False,
            help="Name the inputs with their types in MLflow's signature of the model. MLflow then refuses "
            "integers and categories of pandas.",
        ),
    ),
    SIGNATURE,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Register a run's model, and promote it if it is better than the one in use."""
    check_alias(values["alias"])
    if values["require_signature"] is not None and values["sign"] is None:
        msg = "register needs a key to sign with where signatures are required; got none; pass --sign."
        raise InputError(msg)
    with public_half(values["sign"]) as own:
        # Others may have signed what it is compared with.
        trusted = None if own is None else [*own, *(values["require_signature"] or ())]
        tracking.connect(to_log=False)
        run_id = _run_id(values["run_id"], values["study"])
        version = registered(
            run_id, values["registered_model"], values["sign"], signature=values["signature"]
        )
        if values["alias"] == CHALLENGER:
            return end()
        test = None
        if values["test"]:
            test = load(
                values["test"],
                version.record.data["target"],
                classes=version.record.task.name == "classification",
            )
        promotion = promote(
            version, values["alias"], force=values["force"], test=test, trusted=trusted
        )
    tell_promotion(version, values["alias"], promotion, forced=values["force"])
    return end()


def registered(
    run_id: str, name: str | None, key: str | None = None, *, signature: bool = False
) -> RegisteredVersion:
    """Register a run under a name, or that of its data, signed if there is a key, and say so."""
    version = registry.register(run_id, name, key=key, signature=signature)
    what = "registered" if version.is_new else "was registered already"
    signed = "" if key is None else ", signed"
    click.echo(
        f"{version.uri}: {what}{signed}, alias {CHALLENGER}\n{version.record.build_loss()}, "
        f"{version.record.describe()} on {version.record.data['name']}"
    )
    if "spoiled" in version.record.data:
        click.echo(
            f"Warning: trained on targets that were spoiled on purpose ({version.record.data['spoiled']}); "
            "train without --contaminate-share for use.",
            err=True,
        )
    if not len(registry.load_unseen_residuals(version.uri).calibration.errors):
        things = "sets" if version.record.data.get("classes") else "intervals"
        click.echo(
            f"It has no prediction {things}: training used every row but the test rows (with early "
            f"stopping, the validation rows too). For {things}, register a tuned model, or train without "
            "--early-stopping-rounds."
        )
    return version


def tell_promotion(
    version: RegisteredVersion, alias: str, promotion: Promotion, *, forced: bool = False
) -> None:
    """Who has the alias now, and why."""
    against = ""
    if promotion.holder is not None and promotion.holder != version.version:
        against = f" over version {promotion.holder}"
    is_worse = promotion.comparison is not None and promotion.comparison.is_worse
    how = "worse" if is_worse else "not clearly better"
    compared = "" if promotion.comparison is None else f": {promotion.comparison.describe()}"
    if promotion.promoted:
        by_force = ", forced" if forced and against else ""
        click.echo(f"{alias}: version {version.version}{against}{by_force}{compared}")
        click.echo(f"\nUse it as models:/{version.name}@{alias}")
    else:
        click.echo(
            f"{alias}: stays version {promotion.holder}; version {version.version} is {how}"
            f"{compared}. --force=true gives it the alias anyway (tag {FORCED_TAG})."
        )


def _run_id(run_id: str | None, study: str | None) -> str:
    if run_id is not None and study is None:
        return run_id
    if study is not None and run_id is None:
        return tracking.find_study_run(study)
    msg = f"register needs either a --run-id or a --study; got {'both' if run_id else 'none'}."
    raise InputError(msg)
