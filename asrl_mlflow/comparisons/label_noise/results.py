"""What a comparison came to: its table, as text and as columns, and one sentence that follows from it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import scipy.stats

from asrl_mlflow.comparisons.label_noise.cells import Judged
from asrl_mlflow.metrics import TASKS

# Of the classes' metrics those that the tables show.
SHOWN = ("logloss", "error", "brier", "calibration_error")
PLAIN, CORRECTED = "plain", "corrected"
_TITLES = TASKS["classification"].titles
# How sure it must be that a difference is none of chance alone.
_SURE = 0.95

# One value for each seed.
Values = Sequence[float]


@dataclass(frozen=True)
class Results:
    """Metrics on right test labels of every loss at every share of wrong labels.

    Parameters
    ----------
    values : mapping of (loss, share, "plain" or "corrected", metric) to sequence of float
        One value for each seed, the seeds in the same order everywhere; "plain" is of sigmoid or softmax of
        the margins, "corrected" of what the loss makes of them.

    Examples
    --------
    >>> values = {
    ...     (loss, share, state, metric): (error, error + 0.01)
    ...     for loss, error in (("log_loss", 0.1), ("full_m", 0.2))
    ...     for share in (0.0, 0.2)
    ...     for state in (PLAIN, CORRECTED)
    ...     for metric in SHOWN
    ... }
    >>> print(Results(values).verdict())
    So: over 20% flipped labels and 2 seeds, with test error no loss is clearly better than log_loss (0.105), and \
full_m (+0.1) is clearly worse; with log loss no loss is clearly better than log_loss (0.105), and full_m (+0.1) \
is clearly worse.
    """

    values: Mapping[tuple[str, float, str, str], Values]

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> Results:
        """Collect what was judged, in whatever order: losses and shares as they first come by seed."""
        found: dict[tuple[str, float, str, str], list[float]] = defaultdict(list)
        for each in sorted(judged, key=lambda one: one.cell.seed):
            for state in (PLAIN, CORRECTED):
                metrics = each.metrics(corrected=state == CORRECTED)
                for name in SHOWN:
                    found[each.cell.loss.name, each.cell.share, state, name].append(metrics[name])
        return cls(found)

    @property
    def losses(self) -> list[str]:
        """Names of the losses."""
        return list(dict.fromkeys(loss for loss, *_ in self.values))

    @property
    def shares(self) -> list[float]:
        """Shares of wrong labels, the smallest first."""
        return sorted({share for _, share, *_ in self.values})

    def of_metric(self, loss: str, share: float, metric: str, state: str = CORRECTED) -> Values:
        """One value for each seed."""
        return self.values[loss, share, state, metric]

    def columns(self) -> dict[str, list[str | float]]:
        """Give the table as columns: means over the seeds and, with several seeds, standard deviations."""
        rows = [(loss, share) for share in self.shares for loss in self.losses]
        columns: dict[str, list[str | float]] = {
            "loss": [loss for loss, _ in rows],
            "share flipped": [share for _, share in rows],
        }
        for state in (CORRECTED, PLAIN):
            for metric in SHOWN:
                values = [self.of_metric(*row, metric, state) for row in rows]
                name = f"{_TITLES[metric]}, {state}"
                columns[name] = [mean(each) for each in values]
                if len(values[0]) > 1:
                    columns[f"{name}, sd"] = [stdev(each) for each in values]
        return columns

    def table(self) -> str:
        """Give the table as text: a block a share, in it a line a loss, the smallest log loss first."""
        shown = [(metric, CORRECTED) for metric in SHOWN]
        shown += [(metric, PLAIN) for metric in ("logloss", "brier", "calibration_error")]
        blocks = []
        for share in self.shares:
            rows = [[f"{share:.0%} flipped", *(_TITLES[metric] for metric, _ in shown)]]
            rows += [
                [loss, *(_cell(self.of_metric(loss, share, *each)) for each in shown)]
                for loss in self._ranked(share)
            ]
            blocks.append(rows)
        widths = [
            max(len(row[at]) for rows in blocks for row in rows) for at in range(len(shown) + 1)
        ]
        corrected = sum(widths[1 : len(SHOWN) + 1]) + 2 * (len(SHOWN) - 1)
        lines = [f"{'':{widths[0]}}  {'corrected':>{corrected}}    as the margins give them"]
        for rows in blocks:
            for row in rows:
                cells = [
                    f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)
                ]
                cells[len(SHOWN)] = f"  {cells[len(SHOWN)]}"
                lines.append("  ".join([f"{row[0]:{widths[0]}}", *cells]))
            lines.append("")
        return "\n".join(lines[:-1])

    def verdict(self) -> str:
        """Say in one sentence which losses are better or worse than the first one, over all shares above 0.

        A loss is clearly better or worse where `is_clear` of its differences, seed by seed.
        """
        wrong = [share for share in self.shares if share] or self.shares
        first = self.losses[0]
        seeds = len(self.of_metric(first, wrong[0], SHOWN[0]))
        over = f"{wrong[0]:.0%}" + (f" to {wrong[-1]:.0%}" if len(wrong) > 1 else "")
        parts = []
        for metric, title in (("error", "test error"), ("logloss", "log loss")):
            base = self._over(first, wrong, metric)
            better: list[str] = []
            worse: list[str] = []
            for loss in self.losses[1:]:
                pairs = zip(self._over(loss, wrong, metric), base, strict=True)
                difference = [one - other for one, other in pairs]
                if is_clear(difference):
                    group = better if mean(difference) < 0 else worse
                    group.append(f"{loss} ({mean(difference):+.2g})")
            parts.append(
                f"with {title} {_said(better)} clearly better than {first} ({mean(base):.3g}), and "
                f"{_said(worse)} clearly worse"
            )
        return f"So: over {over} flipped labels and {seeds} seed{'s' * (seeds > 1)}, {'; '.join(parts)}."

    def _ranked(self, share: float) -> list[str]:
        """The losses at a share, the smallest log loss first."""
        return sorted(self.losses, key=lambda loss: mean(self.of_metric(loss, share, "logloss")))

    def _over(self, loss: str, shares: Sequence[float], metric: str) -> list[float]:
        """The mean over shares, one for each seed."""
        each = [self.of_metric(loss, share, metric) for share in shares]
        return [mean(values) for values in zip(*each, strict=True)]


def is_clear(differences: Values) -> bool:
    """Check whether 0 lies outside the 95% interval of the mean of differences, by Student's t.

    With one difference nothing is clear.

    Examples
    --------
    >>> is_clear([0.1, 0.12, 0.11]), is_clear([0.1, -0.12, 0.11]), is_clear([0.1])
    (True, False, False)
    """
    count = len(differences)
    if count == 1:
        return False
    reach = scipy.stats.t.ppf((1 + _SURE) / 2, count - 1) * stdev(differences) / math.sqrt(count)
    return bool(abs(mean(differences)) > reach)


def _said(names: Sequence[str]) -> str:
    if not names:
        return "no loss is"
    *others, last = names
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"


def _cell(values: Values) -> str:
    number = f"{mean(values):.3f}"
    return f"{number}±{stdev(values):.3f}" if len(values) > 1 else number
