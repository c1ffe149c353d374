"""Draw docs/images/loss_shapes.png: what a residual costs and what its row weighs, for each loss.

Thresholds are those that 10,000 standard normal residuals give. Run from the repository's root:
`python docs/draw_losses.py`.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from asrl_mlflow.figures import COLOURS
from asrl_mlflow.losses import LOSSES
from asrl_mlflow.residuals import Residuals


def draw() -> Figure:
    """Two panels over the residual, one curve a loss."""
    stats = Residuals(np.random.default_rng(0).normal(size=10_000))
    r = np.linspace(-5, 5, 2001)
    figure = Figure(figsize=(8, 3.6), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2)
    for name, loss in LOSSES.items():
        pointwise = loss().adapt(stats)
        style = {"color": COLOURS[name], "label": name, "linewidth": 1.6}
        left.plot(r, pointwise.value(r), **style)
        right.plot(r, pointwise.weight(r) / pointwise.row_weight, **style)
    left.set(
        title="what a residual costs", xlabel="residual r, in standard deviations", ylim=(0, 8)
    )
    right.set(
        title="what its row weighs", xlabel="residual r, in standard deviations", ylim=(0, 1.6)
    )
    right.legend(fontsize="small", frameon=False, loc="upper right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    draw().savefig("docs/images/loss_shapes.png")
