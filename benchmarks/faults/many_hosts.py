"""One study, many hosts: the recipe of docs/how-to/many-hosts without Docker, while everything fails once.

Starts PostgreSQL, `mlflow server` with accounts, and workers, each with a host name and process numbers of its own,
by the commands of compose.yaml. In the middle PostgreSQL is restarted, then the MLflow server and one worker are
killed and started again. Then Optuna's record is compared with MLflow's, trial by trial.

    uv run --with 'mlflow[auth]' python benchmarks/faults/many_hosts.py
    uv run --with 'mlflow[auth]' python benchmarks/faults/many_hosts.py --repeats=3 --data=california --rounds=100 --trials=24

The second measures how fast a study is without failures. Needs Linux, PostgreSQL, and the right to make namespaces.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import click
import mlflow
import optuna
import psycopg
import xgboost
import yaml
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from asrl_mlflow.studies.storages import open_storage

RECIPE = Path(__file__).parents[2] / "docs/how-to/many-hosts"
SERVICES: Mapping[str, Any] = yaml.safe_load((RECIPE / "compose.yaml").read_text())["services"]
SECRETS = {
    "POSTGRES_PASSWORD": "of the database",
    "MLFLOW_PASSWORD": "of the administrator",
    "MLFLOW_SECRET": "of the server's forms",
}
STUDY = "mine"
JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)
SECONDS_TO_START = 180
MOST_RESTARTS, MOST_SENDINGS = 20, 5
# A user whom PostgreSQL, which refuses root, can run as.
NOBODY = 65534


@dataclass
class Recipe:
    """The recipe's services as processes of this host.

    Parameters
    ----------
    folder : Path
        For all that they write.
    """

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: Mapping[str, int] = field(
        default_factory=lambda: {"postgres": _port(), "mlflow": _port()}
    )

    @property
    def storage(self) -> str:
        """Address of the studies."""
        return self.here(SERVICES["worker"]["environment"]["ASRL_STORAGE"])

    def here(self, text: str) -> str:
        """What the recipe says, with this host's addresses and folders."""
        text = re.sub(r"\$\{(\w+)[^}]*\}", lambda found: SECRETS[found[1]], text)
        for theirs, ours in {
            "@postgres/": f"@127.0.0.1:{self.ports['postgres']}/",
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - that of a container
            "mlflow:5000": f"127.0.0.1:{self.ports['mlflow']}",
            "port=5000": f"port={self.ports['mlflow']}",
            "=/artifacts": f"={self.folder}/artifacts",
            "/etc/mlflow/": f"{self.folder}/",
        }.items():
            text = text.replace(theirs, ours)
        return text

    def start(self, name: str, service: str, command: str, *prefix: str) -> None:
        """Start a service's command."""
        program, *options = shlex.split(self.here(command))
        module = {"asrl": "asrl_mlflow", "mlflow": "mlflow"}[program]
        settings = {
            key: self.here(value) for key, value in SERVICES[service]["environment"].items()
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(  # noqa: S603 - the recipe's own
                [*prefix, sys.executable, "-m", module, *options],
                env={**os.environ, **settings},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Kill a service and all that it has started."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def start_postgres(self) -> None:
        """Start the database server."""
        settings = f"-p {self.ports['postgres']} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._postgres("start", "-w", "-o", settings, "-l", str(self.folder / "postgres/log"))

    def make_databases(self) -> None:
        """Make the database server and what databases.sql says."""
        data = self.folder / "postgres"
        data.mkdir()
        password = self.folder / "password"
        password.write_text(SECRETS["POSTGRES_PASSWORD"])
        if os.geteuid() == 0:
            for path in (self.folder, data, password):
                os.chown(path, NOBODY, NOBODY)
        self._as_nobody(
            "initdb",
            "-D",
            str(data / "data"),
            "-U",
            "asrl",
            "-E",
            "UTF8",
            "-A",
            "scram-sha-256",
            f"--pwfile={password}",
        )
        self.start_postgres()
        address = f"postgresql://asrl@127.0.0.1:{self.ports['postgres']}/postgres"
        with psycopg.connect(
            address, password=SECRETS["POSTGRES_PASSWORD"], autocommit=True
        ) as connection:
            for statement in (RECIPE / "databases.sql").read_text().splitlines():
                connection.execute(statement.encode())

    def restart_postgres(self) -> None:
        """Cut all connections, and take new ones a moment later."""
        self._postgres("stop", "-w", "-m", "fast")
        self.start_postgres()

    def stop_postgres(self) -> None:
        """End the database server."""
        self._postgres("stop", "-w", "-m", "fast")

    def start_mlflow(self) -> None:
        """Start the tracking server, and wait until it answers."""
        ini = self.folder / "basic_auth.ini"
        ini.write_text(self.here((RECIPE / "basic_auth.ini").read_text()))
        self.start("mlflow", "mlflow", SERVICES["mlflow"]["command"])
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urlopen(self.here("http://mlflow:5000/health"), timeout=5).close()  # noqa: S310 - ours
                return
            time.sleep(0.5)
        raise TimeoutError((self.folder / "mlflow.log").read_text())

    def start_worker(self, number: int, options: list[str]) -> None:
        """Start a worker as if on a host of its own: another name, other process numbers."""
        # Of an option that stands twice, the last counts.
        command = f"{SERVICES['worker']['command']} {shlex.join(options)}"
        isolated = ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "--kill-child"]
        if os.geteuid() != 0:
            isolated += ["--user", "--map-root-user"]
        named = ["sh", "-c", f'hostname worker-{number} && exec "$@"', "sh"]
        self.start(f"worker-{number}", "worker", command, *isolated, *named)

    def _postgres(self, *words: str) -> None:
        self._as_nobody("pg_ctl", "-D", str(self.folder / "postgres/data"), *words)

    def _as_nobody(self, program: str, *options: str) -> None:
        folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        path = os.pathsep.join([os.environ["PATH"], *folders])
        found = shutil.which(program, path=path)
        if found is None:
            msg = f"many_hosts needs PostgreSQL; got no {program}; install it."
            raise click.ClickException(msg)
        other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        prefix = other if os.geteuid() == 0 else []
        subprocess.run(  # noqa: S603 - no shell
            [*prefix, found, *options], check=True, cwd=self.folder, stdout=subprocess.DEVNULL
        )


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running() -> Iterator[Recipe]:
    """PostgreSQL and the tracking server, ended with all workers."""
    with tempfile.TemporaryDirectory(prefix="many-hosts-", ignore_cleanup_errors=True) as folder:
        recipe = Recipe(Path(folder))
        recipe.make_databases()
        try:
            recipe.start_mlflow()
            yield recipe
        finally:
            for name in list(recipe.processes):
                recipe.kill(name)
            recipe.stop_postgres()


def trials_of(address: str, study: str = STUDY) -> list[FrozenTrial]:
    """All trials of a study; none before it is there."""
    with open_storage(address) as storage:
        if study not in optuna.get_all_study_names(storage):
            return []
        return optuna.load_study(study_name=study, storage=storage).get_trials(deepcopy=False)


def work(
    recipe: Recipe, workers: int, options: list[str], events: Mapping[int, Callable[[], None]]
) -> int:
    """Let workers finish the study; at each number of judged trials cause an event. How many were caused.

    As in the recipe, a worker that ends with another code than 0 is started again.
    """
    for number in range(workers):
        recipe.start_worker(number, options)
    waiting = sorted(events)
    restarts = 0
    while True:
        done = sum(trial.state in JUDGED for trial in trials_of(recipe.storage)) if events else 0
        while waiting and done >= waiting[0]:
            print(f"  {done} trials: {events[waiting[0]].__name__.replace('_', ' ')}", flush=True)
            events[waiting.pop(0)]()
        codes = {number: recipe.processes[f"worker-{number}"].poll() for number in range(workers)}
        for number in [number for number, code in codes.items() if code]:
            restarts += 1
            print(f"  worker {number} ended with {codes[number]}, and is started again", flush=True)
            if restarts > MOST_RESTARTS:
                raise TimeoutError((recipe.folder / f"worker-{number}.log").read_text())
            recipe.start_worker(number, options)
        if not any(code is None or code for code in codes.values()):
            return len(events) - len(waiting)
        time.sleep(1)


def resend(recipe: Recipe) -> int:
    """Send what the tracking server did not take while it was away; how many files there were."""
    files = sorted((recipe.folder / "asrl-spool").glob("*.jsonl"))
    send = [sys.executable, "-m", "asrl_mlflow.tracking.resend", *map(str, files)]
    for _ in range(MOST_SENDINGS if files else 0):
        done = subprocess.run(  # noqa: S603 - no shell
            send, check=False, cwd=recipe.folder, stdout=subprocess.DEVNULL
        )
        if not done.returncode:
            break
        send[3:] = [str(file) for file in files if file.exists()]
    return len(files)


def compare(trials: list[FrozenTrial]) -> dict[str, int]:
    """Compare Optuna's record with MLflow's runs."""
    judged = [trial for trial in trials if trial.state in JUDGED]
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("asrl-mlflow")
    if experiment is None:
        raise AssertionError
    runs: dict[str, Run] = {}
    token: str | None = None
    while token != "":
        page = client.search_runs([experiment.experiment_id], page_token=token)
        runs |= {run.info.run_id: run for run in page}
        token = page.token or ""
    # By the trial's number: a run that was begun while MLflow was away gets its id later.
    of_trial = defaultdict(list)
    for run in runs.values():
        if run.data.tags.get("asrl.study") == STUDY and "asrl.reaped" not in run.data.tags:
            of_trial[run.data.tags.get("asrl.trial")].append(run)
    whole = [
        [
            run
            for run in of_trial[str(trial.number)]
            if (
                run.data.metrics.get("objective") == trial.value and run.info.status == "FINISHED"
                if trial.state == TrialState.COMPLETE
                else run.info.status == "KILLED" and "asrl.pruned" in run.data.tags
            )
        ]
        for trial in judged
    ]
    return {
        "trials judged": len(judged),
        "of them twice": len(judged) - len({tuple(trial.params.values()) for trial in judged}),
        "trials with two runs": sum(len(of_trial[str(trial.number)]) > 1 for trial in trials),
        "lost, or other in MLflow": sum(not each for each in whole),
        "left running": sum(trial.state == TrialState.RUNNING for trial in trials)
        + sum(run.info.status == "RUNNING" for run in runs.values()),
        "given back, or one too many": sum(trial.state == TrialState.FAIL for trial in trials),
    }


def outlast(recipe: Recipe, workers: int, options: list[str], trials: int) -> None:
    """Let everything fail once, and print what is left of it."""

    def restart_PostgreSQL() -> None:  # noqa: N802 - as it is printed
        recipe.restart_postgres()

    def kill_a_worker_and_start_it_again() -> None:
        recipe.kill("worker-0")
        recipe.start_worker(0, options)

    def kill_the_MLflow_server_and_start_it_again() -> None:  # noqa: N802 - as above
        recipe.kill("mlflow")
        recipe.start_mlflow()

    failures = [
        restart_PostgreSQL,
        kill_a_worker_and_start_it_again,
        kill_the_MLflow_server_and_start_it_again,
    ]
    events = dict(zip(itertools.count(trials // 4, trials // 4), failures, strict=False))
    began = time.monotonic()
    caused = work(recipe, workers, options, events)
    seconds = time.monotonic() - began
    sent = resend(recipe)
    rows: dict[str, object] = {
        **compare(trials_of(recipe.storage)),
        "failures outlasted": f"{caused} of {len(events)}",
        "files sent later to MLflow": sent,
        "seconds": f"{seconds:.0f}",
    }
    for name, value in rows.items():
        print(f"{name:30}{value:>12}")


def measure(recipe: Recipe, workers: int, options: list[str], repeats: int) -> None:
    """Print how fast a study is with one worker and with all, alternately."""
    speeds: dict[int, list[float]] = {1: [], workers: []}
    for repeat, count in itertools.product(range(repeats), speeds):
        study = f"{STUDY}-{repeat}-{count}"
        work(recipe, count, [*options, f"--study={study}"], {})
        ended = [each for each in trials_of(recipe.storage, study) if each.state in JUDGED]
        # Without the start of the processes.
        begun = min(each.datetime_start for each in ended if each.datetime_start is not None)
        last = max(each.datetime_complete for each in ended if each.datetime_complete is not None)
        speeds[count].append(60 * len(ended) / (last - begun).total_seconds())
        print(f"{count} workers: {speeds[count][-1]:.1f} trials a minute", flush=True)
    ratio = median(speeds[workers]) / median(speeds[1])
    print(f"{workers} workers do {ratio:.2f} times what one does; load {os.getloadavg()[0]:.1f}")


@click.command()
@click.option("--trials", default=200, show_default=True, help="Of a study.")
@click.option("--workers", default=2, show_default=True, help="Hosts, of one worker process each.")
@click.option("--data", default="diabetes", show_default=True, help="As the flows' option.")
@click.option("--rounds", default=20, show_default=True, help="Boosting rounds of a trial.")
@click.option("--repeats", default=0, show_default=True, help="Measure without failures, so often.")
def main(trials: int, workers: int, data: str, rounds: int, repeats: int) -> None:
    """Run the recipe, and print a table."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # What was started is ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ["PYTHONPATH"] = str(RECIPE.parents[2])
    os.environ["PGPASSWORD"] = SECRETS["POSTGRES_PASSWORD"]
    options = [f"--data={data}", "--target=", f"--trials={trials}", f"--rounds={rounds}"]
    print(
        f"{workers} workers, {data}, {trials} trials of {rounds} rounds, XGBoost {xgboost.__version__}"
    )
    with running() as recipe:
        worker = SERVICES["worker"]["environment"]
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            os.environ[name] = recipe.here(worker[name])
        if repeats:
            measure(recipe, workers, [*options, "--figures=false"], repeats)
        else:
            outlast(recipe, workers, options, trials)


if __name__ == "__main__":
    main()
