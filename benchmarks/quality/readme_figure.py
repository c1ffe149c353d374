"""Draw the picture of the README.

    ASRL_DATA_DIR=... OMP_WAIT_POLICY=PASSIVE python benchmarks/quality/readme_figure.py

`wrong_labels.png` shows the error on clean test rows against the share of wrong labels among the rows
to learn from. What was measured for it is kept beside it as `wrong_labels.json`; delete that file to
measure again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import xgboost
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset, load
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import Rows, Split
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.figures.style import (
    TUNED,
    colour_of,
    label_lines,
    open_figure,
    png,
    style_axes,
)
from asrl_mlflow.losses import ContinuousASRL, Huber, Loss, SquaredError, auto
from asrl_mlflow.metrics import mae
from asrl_mlflow.residuals.statistics import Residuals

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
ROUNDS = 100
THREADS = 2
NATIVE = "native absolute error"
LABELS = {
    "squared_error": "squared error",
    NATIVE: "XGBoost absolute error",
    "huber": "Huber (delta 1)",
    "huber tuned": "Huber tuned",
    "asrl_c auto": "losses.auto()",
}


def measure(table: Dataset, seeds: int) -> dict[str, Any]:
    """Measure the test MAE of every method.

    Parameters
    ----------
    table : Dataset
        Rows to split.
    seeds : int, >= 1
        How many seeds, from 0 on.

    Returns
    -------
    dict
        "mae" holds, by method, one list of test MAE values (one a seed) for each share.
    """
    found: dict[str, list[list[float]]] = {}
    for share in tqdm(SHARES, desc="shares", disable=None):
        for seed in range(seeds):
            kind = Contamination("asym", share) if share else Contamination()
            for method, error in judge_methods(prepare_split(table, seed, kind), seed):
                values = found.setdefault(method, [])
                if seed == 0:
                    values.append([])
                values[-1].append(error)
    return {
        "data": table.name,
        "rows": len(table.rows),
        "seeds": seeds,
        "xgboost": xgboost.__version__,
        "shares": list(SHARES),
        "mae": found,
    }


def judge_methods(parts: Split, seed: int) -> Iterator[tuple[str, float]]:
    """Fit every method on the training rows; yield its name and its MAE on the test rows.

    A tuned loss is the one of eleven settings that has the smallest MAE on validation rows, which are
    spoiled as the training rows are.
    """
    params = {**Settings().booster_params(seed), "nthread": THREADS}
    dtrain = make_matrix(parts.train)

    def fit(loss: Loss) -> xgboost.Booster:
        return train(params, dtrain, ROUNDS, loss=loss)

    def error(booster: xgboost.Booster, rows: Rows) -> float:
        return mae(rows.target, booster.inplace_predict(rows.features))

    yield "squared_error", error(fit(SquaredError()), parts.test)
    native = xgboost.train({**params, "objective": "reg:absoluteerror"}, dtrain, ROUNDS)
    yield NATIVE, error(native, parts.test)
    for default, settings in choose_settings(parts).items():
        yield default.name, error(fit(default), parts.test)
        fitted = [fit(setting) for setting in settings]
        best = min(fitted, key=lambda booster: error(booster, parts.valid))
        yield f"{default.name} {TUNED}", error(best, parts.test)
    yield auto().label, error(fit(auto()), parts.test)


def choose_settings(parts: Split) -> dict[Loss, list[Loss]]:
    """List eleven settings of each tuned loss, by the loss with its default parameters.

    Those of asrl_c are the starting points of a study; Huber's thresholds are the default one and ten
    that are spread evenly, on a logarithmic scale, over the search space of a study.
    """
    target = Residuals(parts.train.target - np.median(parts.train.target))
    starts = [ContinuousASRL.at(point) for point in ContinuousASRL.starts(target)]
    space = Huber.search_space(target)["delta"]
    deltas = np.geomspace(space.low, space.high, len(starts) - 1).tolist()
    return {
        Huber(): [Huber(), *(Huber(delta) for delta in deltas)],
        ContinuousASRL(): [*starts],
    }


def draw_wrong_labels(numbers: dict[str, Any]) -> Figure:
    """Draw the test MAE of every method against the share of wrong labels.

    Parameters
    ----------
    numbers : dict
        As `measure` gives them.
    """
    figure, body = open_figure(
        (8, 5),
        "Wrong labels in the training data: error on clean test rows",
        f"California housing, {numbers['rows']:,} rows; mean and standard error over {numbers['seeds']} "
        "seeds; wrong labels are 3 to 10 standard deviations too high. Tuned: the best of 11 settings on "
        f"validation rows that have wrong labels too. XGBoost\u00a0{numbers['xgboost']}.",
    )
    axes = body.add_subplot()
    style_axes(axes)
    shares = np.array(numbers["shares"])
    ends, labels, colours = [], [], []
    for method, values in numbers["mae"].items():
        errors = np.array(values)
        colour = colour_of("absolute_error" if method == NATIVE else method)
        width = 3.0 if method == auto().label else 1.8
        middle = errors.mean(axis=1)
        spread = errors.std(axis=1, ddof=1) / np.sqrt(errors.shape[1])
        axes.errorbar(
            shares, middle, spread, color=colour, linewidth=width, marker="o", ms=4, capsize=2
        )
        ends.append((float(shares[-1]), float(middle[-1])))
        labels.append(f"{LABELS.get(method, method)} {middle[-1]:.2f}")
        colours.append(colour)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set(
        xlabel="share of training rows with a wrong label",
        ylabel="mean absolute error (100,000 US$)",
        ylim=(0, None),
    )
    axes.margins(x=0.02)
    label_lines(axes, ends, labels, colours)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a small PNG file: of 64 colours, which is enough for lines."""
    with Image.open(io.BytesIO(png(figure))) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@click.command()
@click.option("--out", default="docs/images", show_default=True, help="Folder of the pictures.")
@click.option("--seeds", default=3, show_default=True, help="From 0 on.")
def main(out: str, seeds: int) -> None:
    """Measure where nothing is kept, and draw."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "wrong_labels.json"
    if not kept.exists():
        kept.write_text(json.dumps(measure(load("california"), seeds), indent=1) + "\n")
    save(draw_wrong_labels(json.loads(kept.read_text())), folder / "wrong_labels.png")


if __name__ == "__main__":
    main()
