"""The result of a comparison: each loss with its metrics on test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from asrl_mlflow import tracking
from asrl_mlflow.cards import Card, CardTable
from asrl_mlflow.experiments import report
from asrl_mlflow.metrics import TASKS


@dataclass(frozen=True)
class Comparison:
    """Losses that were trained on the same rows, and measured on the same test rows.

    Parameters
    ----------
    table : str
        The name of the table.
    task : {"regression", "classification"}
        What was learned.
    scores : mapping of loss name to {metric: one value a seed}
        On test rows, and the seconds of training.
    run_id : str
        Id of the parent run, which has a child run for each loss and seed, and `report.html`.
    """

    table: str
    task: str
    scores: Mapping[str, Mapping[str, list[float]]]
    run_id: str

    @property
    def best(self) -> str:
        """The name of the loss with the smallest error on test rows, by the task's default metric."""
        return report.rank_losses(self.scores, self.task)[0]

    @property
    def frame(self) -> pd.DataFrame:
        """The table of the losses, the best first; with several seeds means and standard deviations."""
        return pd.DataFrame(report.summary_columns(self.scores, self.task)).set_index("loss")

    def _repr_html_(self) -> str:
        """Show the comparison in a notebook: a sentence and a table, the best loss first."""
        names, summary = report.rank_losses(self.scores, self.task), report.SUMMARIES[self.task]
        metric = TASKS[self.task]
        first, last = (self._error(name) for name in (names[0], names[-1]))
        seeds = len(self.scores[names[0]][metric.default])
        spread = "; ±: standard deviation over the seeds" if seeds > 1 else ""
        return Card(
            title=f"{len(names)} losses on {self.table}",
            sentence=f"{names[0]} has the smallest test {metric.default_title}, {first}; {names[-1]} the "
            f"largest, {last}.",
            facts={"run": self.run_id, "to see every run": tracking.ui_command()},
            tables=[
                CardTable(
                    f"On test rows, {seeds} {'seeds' if seeds > 1 else 'seed'}{spread}",
                    ["loss", *(heading for _, heading in summary.columns)],
                    [
                        [
                            name,
                            *(
                                report.format_cell(key, self.scores[name][key])
                                for key, _ in summary.columns
                            ),
                        ]
                        for name in names
                    ],
                )
            ],
        ).html()

    def _error(self, name: str) -> str:
        metric = TASKS[self.task].default
        return report.format_cell(metric, self.scores[name][metric])
