"""What a grid came to: errors by setting and seed, and what they are beside those of the best rival."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from asrl_mlflow.comparisons.grids.cells import Cell, Judged
from asrl_mlflow.comparisons.grids.grid import Grid
from asrl_mlflow.datasets import Contamination
from asrl_mlflow.residuals import FloatArray

LEVEL = 0.95
_RESAMPLES, _SEED = 9999, 0


class Setting(NamedTuple):
    """What a comparison is made under: all of a cell but method and seed.

    Parameters
    ----------
    table : str
        Name of the table.
    contamination : Contamination
        How training and validation targets are spoiled.
    learning_rate : float
        Shrinkage of each tree.
    rows : int, optional
        Rows of the table that are used, at most.
    shift : str
        Where test rows lie, as in `Cell`.
    """

    table: str
    contamination: Contamination
    learning_rate: float
    rows: int | None
    shift: str = "none"

    @classmethod
    def of(cls, cell: Cell) -> Setting:
        """The setting of a cell."""
        return cls(cell.table, cell.contamination, cell.learning_rate, cell.rows, cell.shift)


class Ratio(NamedTuple):
    """A method's test MAE over that of the best rival of a setting, seed by seed.

    Parameters
    ----------
    method, rival : str
        Names; the rival is the one with the smallest geometric mean over the seeds, known only afterwards.
    value : float
        Geometric mean over the seeds; below 1 the method is better.
    needed : int
        How many seeds, or tables, an interval takes: see `draws_needed`.
    low, high : float
        Its interval, by a paired bootstrap of the seeds, or of the tables where it is over all settings; NaN where
        these are too few.
    """

    method: str
    rival: str
    value: float
    needed: int
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether 1 lies outside the interval."""
        return self.high < 1 or self.low > 1


@dataclass(frozen=True)
class Results:
    """Test MAE of every method, setting and seed.

    Parameters
    ----------
    losses, rivals : sequence of str
        Names of what is asked about, and of what it is compared with.
    errors : mapping of Setting to DataFrame
        A column a method, a row a seed; only seeds that every method has.
    seconds : mapping of str to float
        Mean seconds of a method's search and fit.
    left_out : int
        Cells whose seed some method does not have yet.

    Examples
    --------
    >>> frame = pd.DataFrame({"asrl_c": [1.0, 2.0], "xgboost_squared": [2.0, 4.0]})
    >>> setting = Setting("diabetes", Contamination("asym", 0.2), 0.1, None)
    >>> results = Results(["asrl_c"], ["xgboost_squared"], {setting: frame}, {}, 0)
    >>> results.ratio(setting, "asrl_c", comparisons=1).value, results.label(setting)
    (0.5, 'diabetes, asym 20%')
    """

    losses: Sequence[str]
    rivals: Sequence[str]
    errors: Mapping[Setting, pd.DataFrame]
    seconds: Mapping[str, float]
    left_out: int

    @classmethod
    def of(cls, grid: Grid, judged: Iterable[Judged]) -> Results:
        """Collect what was judged of a grid, in the order of its cells."""
        found: dict[Setting, dict[int, dict[str, float]]] = {}
        seconds: dict[str, list[float]] = {}
        for each in judged:
            cell = each.cell
            by_seed = found.setdefault(Setting.of(cell), {}).setdefault(cell.seed, {})
            by_seed[cell.method] = each.metrics["test.mae"]
            seconds.setdefault(cell.method, []).append(each.metrics["fit_seconds"])
        methods = list(grid.methods)
        whole = {
            setting: pd.DataFrame.from_dict(
                {seed: row for seed, row in rows.items() if len(row) == len(methods)},
                orient="index",
                columns=methods,
            )
            for setting, rows in found.items()
        }
        cells = sum(len(row) for rows in found.values() for row in rows.values())
        errors = {setting: frame for setting, frame in whole.items() if len(frame)}
        return cls(
            grid.losses,
            grid.rivals,
            errors,
            {name: float(np.mean(each)) for name, each in seconds.items()},
            cells - sum(frame.size for frame in errors.values()),
        )

    @property
    def methods(self) -> list[str]:
        """Names of losses and rivals, each once."""
        return list(dict.fromkeys((*self.losses, *self.rivals)))

    @property
    def means(self) -> pd.DataFrame:
        """The geometric means over the seeds: a row a setting, a column a method."""
        logs = [frame.transform(np.log).mean() for frame in self.errors.values()]
        return pd.DataFrame(logs, index=[*map(self.label, self.errors)]).transform(np.exp)

    @property
    def blocks(self) -> pd.DataFrame:
        """What methods are ranked in: a row a comparison, a column a method.

        That is a setting where there are several tables, as the seeds of one table are no tables of their own;
        of one table it is a setting and seed, all there is.
        """
        if len({setting.table for setting in self.errors}) > 1:
            return self.means
        return pd.concat(self.errors.values(), ignore_index=True)

    def without(self, methods: Iterable[str]) -> Results:
        """Leave losses out."""
        left = set(methods)
        losses = [name for name in self.losses if name not in left]
        kept = list(dict.fromkeys((*losses, *self.rivals)))
        errors = {setting: frame[kept] for setting, frame in self.errors.items()}
        return replace(self, losses=losses, errors=errors)

    def label(self, setting: Setting) -> str:
        """Name a setting by its table, its contamination, and what else tells it from the others."""
        contamination = setting.contamination
        share = f" {100 * contamination.share:g}%" if contamination.share else ""
        spoiled = f"{contamination.kind}{share}"
        return ", ".join([setting.table, spoiled, *self._differences(setting)])

    def place(self, setting: Setting) -> str:
        """Name a setting as `label` does, but for its contamination."""
        return ", ".join([setting.table, *self._differences(setting)])

    def _differences(self, setting: Setting) -> Iterator[str]:
        if len({each.learning_rate for each in self.errors}) > 1:
            yield f"learning rate {setting.learning_rate:g}"
        if len({each.rows for each in self.errors}) > 1:
            yield "all rows" if setting.rows is None else f"{setting.rows} rows"
        if setting.shift != "none":
            yield "shifted"

    def best_rival(self, setting: Setting) -> str:
        """The rival with the smallest geometric mean of its errors, chosen with hindsight."""
        logs = self.errors[setting][list(self.rivals)].transform(np.log)
        return str(logs.mean().idxmin())

    def ratio(
        self, setting: Setting, method: str, comparisons: int, rival: str | None = None
    ) -> Ratio:
        """Compare a method with another one.

        Parameters
        ----------
        setting : Setting
            One of `errors`.
        method : str
            A loss or a rival.
        comparisons : int, >= 1
            How many such ratios are looked at: all their intervals together hold the truth with 95%, as
            each is made so much wider (Bonferroni).
        rival : str, optional
            The other method; the best rival by default.
        """
        return _compare(
            self.errors[setting], method, rival or self.best_rival(setting), comparisons
        )

    def ratios(self) -> dict[Setting, list[Ratio]]:
        """Compare every loss with the best rival of every setting, corrected for their number."""
        comparisons = len(self.errors) * len(self.losses)
        return {
            setting: [self.ratio(setting, loss, comparisons) for loss in self.losses]
            for setting in self.errors
        }

    @property
    def by_table(self) -> pd.DataFrame:
        """The geometric means over settings and seeds: a row a table, a column a method."""
        tables = [setting.table for setting in self.errors]
        return self.means.transform(np.log).groupby(tables, sort=False).mean().transform(np.exp)

    def overall(self) -> list[Ratio]:
        """Compare every loss with the one rival that is best over all settings; a table is one draw."""
        errors = self.by_table
        rival = str(errors[list(self.rivals)].transform(np.log).mean().idxmin())
        return [_compare(errors, loss, rival, len(self.losses)) for loss in self.losses]

    def table(self) -> pd.DataFrame:
        """Give geometric means of the ratio to the best rival: a row a method, a column a setting."""
        columns = {
            self.label(setting): {
                method: float(
                    np.exp(np.log(frame[method] / frame[self.best_rival(setting)]).mean())
                )
                for method in self.methods
            }
            for setting, frame in self.errors.items()
        }
        shown = pd.DataFrame(columns, index=self.methods)
        shown["all"] = np.exp(np.log(shown).mean(axis=1))
        shown["seconds"] = pd.Series(self.seconds)
        return shown

    def columns(self) -> dict[str, list[str | float]]:
        """Give the results as columns, a row a setting and method."""
        ratios = self.ratios()
        rows: list[dict[str, str | float]] = []
        for setting, frame in self.errors.items():
            with_interval = {each.method: each for each in ratios[setting]}
            for method in self.methods:
                ratio = with_interval.get(method) or self.ratio(setting, method, 1)
                bounds = (
                    (ratio.low, ratio.high) if method in with_interval else (math.nan, math.nan)
                )
                rows.append(
                    {
                        "setting": self.label(setting),
                        "method": method,
                        "seeds": len(frame),
                        "test MAE": float(frame[method].mean()),
                        "sd": float(frame[method].std()),
                        "best rival": ratio.rival,
                        "ratio": ratio.value,
                        "low": bounds[0],
                        "high": bounds[1],
                    }
                )
        return {name: [row[name] for row in rows] for name in rows[0]}


def draws_needed(comparisons: int) -> int:
    """How many seeds, or tables, intervals of so many comparisons take, to hold all of them with 95%.

    A bootstrap of n draws gives at most their range, which misses the median with 2**(1 - n).

    Examples
    --------
    >>> draws_needed(1), draws_needed(12)
    (6, 9)
    """
    return math.ceil(1 + math.log2(comparisons / (1 - LEVEL)))


def _compare(errors: pd.DataFrame, method: str, rival: str, comparisons: int) -> Ratio:
    """The ratio of two columns, each row of which is a draw of both."""
    logs = np.log((errors[method] / errors[rival]).to_numpy())
    needed, low, high = draws_needed(comparisons), math.nan, math.nan
    if len(logs) >= needed:
        low, high = _interval(logs, 1 - (1 - LEVEL) / comparisons)
    return Ratio(method, rival, math.exp(logs.mean()), needed, math.exp(low), math.exp(high))


def _interval(logs: FloatArray, level: float) -> tuple[float, float]:
    """Percentile bootstrap of the mean."""
    if logs.min() == logs.max():  # there is nothing to draw again
        return float(logs[0]), float(logs[0])
    # Here, not above: it takes half a second to import.
    from scipy.stats import bootstrap  # noqa: PLC0415 - see above

    drawn = bootstrap(
        (logs,),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)
