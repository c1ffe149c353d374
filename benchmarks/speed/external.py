"""Training on a table that does not fit in the memory that a process may have.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/external.py

Parquet files are written, larger as float32 than the limit. Then fresh processes train on them: whole,
and in batches through `ExtMemQuantileDMatrix`, each with and without the limit, which Linux keeps with
a control group (it kills who needs more; making one takes root).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import xgboost
from tqdm import tqdm

from asrl_mlflow import losses, train
from asrl_mlflow.datasets.matrices import ParquetBatches
from asrl_mlflow.metrics import mae

FILES, ROUNDS = 8, 20
PARAMS = {"max_depth": 6, "nthread": 2, "max_bin": 64}


def write(folder: Path, rows: int, features: int) -> None:
    """The table, in files that have a heavy-tailed target as their last column."""
    rng = np.random.default_rng(0)
    for number in tqdm(range(FILES), desc="writing", leave=False, disable=None):
        x = rng.standard_normal((rows // FILES, features), dtype=np.float32)
        y = 3 * x[:, 0] + np.sin(3 * x[:, 1]) + x[:, 2] * x[:, 3] + rng.standard_t(2, len(x))
        columns = {f"x{place}": x[:, place] for place in range(features)}
        pa.parquet.write_table(
            pa.table({**columns, "y": y.astype(np.float32)}),
            folder / f"{number}.parquet",
            compression="none",
            row_group_size=2**15,
        )


def enter_group(limit_mb: int) -> None:
    """Let this process have so much memory, the pages of its files included."""
    root = Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").exists()
    group = root / ("" if unified else "memory") / "asrl-benchmark"
    group.mkdir(exist_ok=True)
    limit = group / ("memory.max" if unified else "memory.limit_in_bytes")
    limit.write_text(str(limit_mb * 2**20))
    (group / "cgroup.procs").write_text(str(os.getpid()))


def fit(folder: Path, how: str, limit_mb: int) -> None:
    """Train in this process, and print what it took."""
    if limit_mb:
        enter_group(limit_mb)
    started = time.perf_counter()
    if how == "whole":
        table = pa.parquet.read_table(folder / "rows")
        y = table.column("y").to_numpy()
        x = np.column_stack([column.to_numpy() for column in table.drop_columns("y").columns])
        dtrain: xgboost.DMatrix = xgboost.QuantileDMatrix(x, label=y, max_bin=64, nthread=2)
    else:
        batches = ParquetBatches(folder / "rows", "y", cache=folder / "cache", batch_rows=2**14)
        dtrain = xgboost.ExtMemQuantileDMatrix(batches, max_bin=64, nthread=2)
    booster = train(PARAMS, dtrain, ROUNDS, loss=losses.ContinuousASRL())
    took = time.perf_counter() - started
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
    sample = pa.parquet.read_table(folder / "rows" / "0.parquet").slice(0, 20_000)
    x = np.column_stack([column.to_numpy() for column in sample.drop_columns("y").columns])
    error = mae(sample.column("y").to_numpy(), booster.inplace_predict(x))
    print(f"{took:.1f} s, {peak} MB at most, MAE {error:.3f}")


@click.command()
@click.option("--rows", default=2_400_000, show_default=True)
@click.option("--features", default=200, show_default=True)
@click.option("--limit-mb", default=1100, show_default=True, help="Of memory, a process.")
@click.option("--fit-in", "job", nargs=3, hidden=True)
def main(rows: int, features: int, limit_mb: int, job: tuple[str, str, str] | None) -> None:
    """Measure, and print a table."""
    if job:
        fit(Path(job[0]), job[1], int(job[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows").mkdir()
        write(folder / "rows", rows, features)
        print(
            f"{platform.machine()}, xgboost {xgboost.__version__}; {rows:,} rows x {features}, "
            f"{rows * features * 4 / 2**20:.0f} MB as float32; limit {limit_mb} MB; {ROUNDS} rounds\n"
        )
        for how in ("whole", "batches"):
            for limit in (0, limit_mb):
                command = [sys.executable, __file__, "--fit-in", str(folder), how, str(limit)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
                said = (done.stdout if done.returncode == 0 else done.stderr).strip()
                answer = said.splitlines()[-1] if said else f"killed (exit code {done.returncode})"
                print(
                    f"{how:8}{f'{limit} MB' if limit else 'no limit':>9}: {answer[:120]}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
