"""What a robust loss costs on several workers, what it sends, and how equal its answers are.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/workers.py [--rows=100000,1000000] [--workers=1,2] [--keep]
    python benchmarks/speed/workers.py --rows= --messages [--equal=2,4,8]

Workers are processes of one thread each, in a collective of XGBoost's as Dask's are. Each ratio is the median
over interleaved pairs (squared error of `xgboost.train`, the loss) on the same matrices. Messages and bytes
are those of a round beyond XGBoost's own; what XGBoost's histograms take is computed: features x bins x 16
bytes a node, and half of the nodes of each level. Not called distributed.py, which would hide Dask's module.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import numpy.typing as npt
import xgboost
from xgboost import collective
from xgboost.tracker import RabitTracker

from asrl_mlflow import train
from asrl_mlflow.boosting.regression import rows as seam
from asrl_mlflow.boosting.regression.collective import Collective
from asrl_mlflow.figures.style import colour_of, open_figure, png, style_axes
from asrl_mlflow.losses import ASRL, AdaptiveHuber, ContinuousASRL, Loss, auto
from asrl_mlflow.residuals.shared.workers import Numbers

LOSSES: tuple[Loss, ...] = (ContinuousASRL(), auto(), AdaptiveHuber(), ASRL())
PARAMS = {"max_depth": 6, "learning_rate": 0.3, "nthread": 1}
# So many rows are built in all rounds of one training.
BUILT = 8_000_000
Array = npt.NDArray[Any]


class Counted(Collective):
    """What is sent beside XGBoost's own histograms, and how long it takes once all workers are there."""

    def __init__(self) -> None:
        self.bytes: list[int] = []
        self.seconds: list[float] = []

    def sum(self, values: Numbers) -> Numbers:
        """Wait for the others, then sum and count."""
        super().sum(np.zeros(1))
        started = time.perf_counter()
        found = super().sum(values)
        self.seconds.append(time.perf_counter() - started)
        self.bytes.append(values.nbytes)
        return found


def on_threads(workers: int, work: Callable[[int], Array]) -> Array:
    """Call `work(rank)` on so many threads, where no time is measured; give what the first returns."""
    tracker = RabitTracker(n_workers=workers, host_ip="127.0.0.1", sortby="task")
    tracker.start()

    def run(rank: int) -> Array:
        arguments = tracker.worker_args()
        with collective.CommunicatorContext(**arguments, dmlc_task_id=f"{rank:03}"):
            return work(rank)

    with ThreadPoolExecutor(workers) as pool:
        return next(iter(list(pool.map(run, range(workers)))))


def rows_of(rows: int, features: int, *, few_values: bool) -> tuple[Array, Array]:
    """A table with heavy tails; with few values a feature all workers cut it alike."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, features), dtype=np.float32)
    y = 3 * x[:, 0] + np.sin(3 * x[:, 1]) + x[:, 2] * x[:, 3]
    y += rng.standard_t(3, rows)
    return (np.round(x * 8) / 8 if few_values else x), y.astype(np.float32)


def weights_of(rows: int, kind: str) -> Array | None:
    """Sample weights: none, whole numbers or others."""
    rng = np.random.default_rng(1)
    kinds: dict[str, Array | None] = {
        "none": None,
        "counts": rng.integers(1, 4, rows),
        "fractions": rng.uniform(0.1, 3, rows),
    }
    return kinds[kind]


def owners(rows: int, workers: int, *, uneven: bool) -> list[slice]:
    """The rows of each worker."""
    shares = np.arange(1, workers + 1) if uneven else np.ones(workers)
    ends = (np.cumsum(shares) / shares.sum() * rows).astype(int)
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _work(
    arguments: dict[str, Any],
    rank: int,
    work: Callable[..., Any],
    given: tuple[Any, ...],
    out: multiprocessing.Queue[Any],
) -> None:
    with collective.CommunicatorContext(**arguments, dmlc_task_id=f"{rank:03}"):
        found = work(rank, *given)
    if rank == 0:
        out.put(found)


def on_workers(workers: int, work: Callable[..., Any], *given: Any) -> Any:  # noqa: ANN401 - of any work
    """Call `work(rank, *given)` on so many processes; give what the first returns."""
    tracker = RabitTracker(n_workers=workers, host_ip="127.0.0.1", sortby="task")
    tracker.start()
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    processes = [
        context.Process(target=_work, args=(tracker.worker_args(), rank, work, given, out))
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    found = out.get()
    for process in processes:
        process.join()
    return found


def cost(rank: int, rows: int, features: int, workers: int, rounds: int, pairs: int) -> list[Any]:
    """Time each loss beside squared error, and count what it sends."""
    x, y = rows_of(rows, features, few_values=False)
    own = owners(rows, workers, uneven=False)[rank]
    matrix = xgboost.QuantileDMatrix(x[own], label=y[own], nthread=1)

    def native() -> None:
        xgboost.train(PARAMS | {"objective": "reg:squarederror"}, matrix, rounds)

    def robust(loss: Loss) -> None:
        train(PARAMS, matrix, rounds, loss=loss)

    found = []
    native()
    for loss in LOSSES:
        times: list[tuple[float, float]] = []
        for _ in range(pairs):
            started = time.perf_counter()
            native()
            middle = time.perf_counter()
            robust(loss)
            times.append((middle - started, time.perf_counter() - middle))
        found.append(
            (
                _name(loss),
                median(first for first, _ in times) / rounds * 1e3,
                median(second / first for first, second in times),
                *(sent_by(loss, matrix, rounds) if workers > 1 else (0, 0, 0)),
            )
        )
    return found


def sent_by(loss: Loss, matrix: xgboost.DMatrix, rounds: int) -> tuple[float, float, float]:
    """Messages, bytes and milliseconds in them, a round: of the last half, which knows what is asked."""
    few, counted = Counted(), Counted()
    for counter, some in ((few, rounds // 2), (counted, rounds)):
        with patch.object(seam, "workers", lambda counter=counter: counter):
            train(PARAMS, matrix, some, loss=loss)
    later = rounds - rounds // 2
    messages = (len(counted.bytes) - len(few.bytes)) / later
    sent = (sum(counted.bytes) - sum(few.bytes)) / later
    return messages, sent, messages * median(counted.seconds) * 1e3


def _name(loss: Loss) -> str:
    return "auto" if loss == auto() else loss.name


@dataclass(frozen=True)
class Sending:
    """What is trained on, where messages are counted."""

    rows: int = 100_000
    features: int = 8
    workers: int = 2
    weights: str = "none"


def messages(rank: int, what: Sending) -> list[tuple[str, float, float]]:
    """Count what each loss sends."""
    x, y = rows_of(what.rows, what.features, few_values=False)
    weight = weights_of(len(y), what.weights)
    own = owners(what.rows, what.workers, uneven=False)[rank]
    matrix = xgboost.QuantileDMatrix(
        x[own], label=y[own], weight=None if weight is None else weight[own], nthread=1
    )
    return [(_name(loss), *sent_by(loss, matrix, 12)[:2]) for loss in LOSSES]


@dataclass(frozen=True)
class Spread:
    """How rows are spread, and what is trained on them."""

    workers: int
    weights: str
    few_values: bool
    uneven: bool = False
    loss: Loss | None = None


def equality(rank: int, how: Spread) -> Array:
    """Predictions of a model whose rows are spread."""
    x, y = rows_of(20_000, 6, few_values=how.few_values)
    weight = weights_of(len(y), how.weights)
    own = owners(len(y), how.workers, uneven=how.uneven)[rank]
    matrix = xgboost.QuantileDMatrix(
        x[own], label=y[own], weight=None if weight is None else weight[own]
    )
    if how.loss is None:
        params = PARAMS | {"objective": "reg:squarederror"}
        booster = xgboost.train(params, matrix, 30)
    else:
        booster = train(PARAMS, matrix, 30, loss=how.loss)
    predicted: Array = booster.inplace_predict(x)
    return predicted


def show_cost(
    rows: list[int], features: int, workers: list[int], pairs: int
) -> list[dict[str, Any]]:
    """Print the table of times and messages; give the points of the figure."""
    print(f"\nXGBoost {xgboost.__version__}, {features} features, depth {PARAMS['max_depth']}")
    print("| rows | workers | loss | native, ms a round | ratio | messages | bytes | ms in them |")
    print("|---|---|---|---|---|---|---|---|")
    points = []
    for count, each in product(rows, workers):
        rounds = max(6, min(40, BUILT // count))
        for name, base, ratio, number, sent, ms in on_workers(
            each, cost, count, features, each, rounds, pairs
        ):
            print(
                f"| {count:.0e} | {each} | `{name}` | {base:.1f} | {ratio:.2f} | {number:.0f} | "
                f"{sent:,.0f} | {ms:.2f} |",
                flush=True,
            )
            if name == ContinuousASRL().name:
                point = {"rows": count, "workers": each, "native": base, "ratio": ratio}
                points.append(point | {"xgboost": xgboost.__version__})
    return points


def show_messages() -> None:
    """Print what is sent, as rows, features, workers and weights change."""
    print("\n| rows | features | workers | weights | loss | messages | bytes | XGBoost's bytes |")
    print("|---|---|---|---|---|---|---|---|")
    for what in (
        Sending(),
        Sending(weights="counts"),
        Sending(weights="fractions"),
        Sending(rows=10_000),
        Sending(rows=1_000_000),
        Sending(features=32),
        Sending(workers=4),
        Sending(workers=8),
    ):
        histograms = what.features * 256 * 16 * 2 ** (int(PARAMS["max_depth"]) - 1)
        for name, number, sent in on_workers(what.workers, messages, what):
            print(
                f"| {what.rows:.0e} | {what.features} | {what.workers} | {what.weights} | `{name}` | "
                f"{number:.1f} | {sent:,.0f} | {histograms:,} |",
                flush=True,
            )


def show_equality(workers: list[int]) -> None:
    """Print the table of differences to the predictions of one worker."""
    judged = [*LOSSES, None]
    names = [*map(_name, LOSSES), "native squared error"]
    print(f"\n| table | weights | workers | partitions | {' | '.join(names)} |")
    print("|---" * (4 + len(names)) + "|")
    for few_values, weights in product((True, False), ("none", "counts", "fractions")):
        alone = [equality(0, Spread(1, weights, few_values, loss=loss)) for loss in judged]
        for count, uneven in product(workers, (False, True)):
            cells = []
            for loss, expected in zip(judged, alone, strict=True):
                spread = Spread(count, weights, few_values, uneven, loss)
                off = np.abs(on_threads(count, partial(equality, how=spread)) - expected)
                cells.append(f"{off.max():.3g} (mean {off.mean():.2g})")
            print(
                f"| {'few values' if few_values else 'continuous'} | {weights} | {count} | "
                f"{'uneven' if uneven else 'even'} | {' | '.join(cells)} |",
                flush=True,
            )


def draw(points: list[dict[str, Any]], path: Path) -> None:
    """Draw the time of a round over the rows of a worker, on to a thousand million rows on 32 workers."""
    figure, inside = open_figure(
        (8, 4.6),
        "What a round takes, measured and on to 1e9 rows",
        f"XGBoost {', '.join(sorted({each['xgboost'] for each in points}))}, 8 features, depth 6, workers of one "
        "thread, two shared cores; dotted: on to 32 workers",
    )
    axes = inside.subplots()
    style_axes(axes)
    for workers, style in ((1, "o-"), (2, "s--")):
        some = [each for each in points if each["workers"] == workers]
        x = np.array([each["rows"] / workers for each in some])
        for name in ("squared_error", "asrl_c"):
            is_native = name == "squared_error"
            y = np.array([each["native"] * (1 if is_native else each["ratio"]) for each in some])
            label = f"{name}, {workers} worker{'s' * (workers > 1)}"
            axes.plot(x, y, style, color=colour_of(name), label=label)
            if workers == 1:
                far = 1e9 / 32
                axes.plot([x[-1], far], [y[-1], y[-1] * far / x[-1]], ":", color=colour_of(name))
                axes.plot(far, y[-1] * far / x[-1], "*", ms=9, color=colour_of(name))
    axes.set(xscale="log", yscale="log", xlabel="rows of a worker", ylabel="ms a round")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False)
    path.write_bytes(png(figure))


@click.command()
@click.option("--rows", default="100000,1000000,3000000", help="Between commas.")
@click.option("--workers", default="1,2", help="Between commas.")
@click.option("--features", default=8)
@click.option("--pairs", default=5)
@click.option("--keep", is_flag=True, help="Keep the points of the figure, and draw it.")
@click.option("--messages", "sends", is_flag=True, help="Count what is sent.")
@click.option("--equal", default="2,4", help="Workers to compare answers of; empty for none.")
def main(
    rows: str, workers: str, features: int, pairs: int, equal: str, *, keep: bool, sends: bool
) -> None:
    """Print the tables."""
    points = []
    if rows:
        counts, ranks = ([int(float(each)) for each in some.split(",")] for some in (rows, workers))
        points = show_cost(counts, features, ranks, pairs)
    if keep:
        file = Path("docs/images/workers.json")
        new = {(each["rows"], each["workers"]): each for each in points}
        old = {(each["rows"], each["workers"]): each for each in json.loads(file.read_text())}
        kept = [each for _, each in sorted((old | new).items())]
        file.write_text(json.dumps(kept, indent=1) + "\n")
        draw(kept, file.with_suffix(".png"))
    if sends:
        show_messages()
    if equal:
        show_equality([int(each) for each in equal.split(",")])


if __name__ == "__main__":
    main()
