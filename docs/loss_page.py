"""Write the part of the catalogue's page that comes from the code: a section and a picture a loss."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from asrl_mlflow import losses
from asrl_mlflow.figures.loss_figures import INFLUENCE, VALUE, WEIGHT, draw_loss_shape
from asrl_mlflow.figures.style import png
from asrl_mlflow.residuals import Residuals

# In Markdown, but no page of its own.
PAGE = "catalogue.txt"
# Shown otherwise than by default: at the middle level both sides are alike.
_SHOWN = {"quantile": {"level": 0.8}, "expectile": {"level": 0.8}}


def draw_loss(loss: losses.Loss) -> Figure:
    """Draw value, weight and influence of a loss as it is when residuals are standard normal.

    Parameters
    ----------
    loss : Loss
        With the parameters to show.
    """
    residuals = np.random.default_rng(0).standard_normal(20_000)
    values = ", ".join(f"{key} = {value}" for key, value in vars(loss).items())
    context = "; ".join(filter(None, [values, "residuals are standard normal"]))
    panels = (VALUE, WEIGHT, INFLUENCE)
    return draw_loss_shape(loss.adapt(Residuals(residuals)), 4.0, loss.name, context, panels)


def section(name: str) -> str:
    """Write the section of a loss: what it is, its formulas, where its class is described, its picture.

    Parameters
    ----------
    name : str
        Of a loss of the catalogue.
    """
    kind = losses.LOSSES[name]
    first = inspect.getdoc(kind).partition("\n\n")[0].replace("\n", " ")
    formulas = [
        f"- {label}: {formula}" for label, formula in kind.FORMULAS._asdict().items() if formula
    ]
    lines = [
        f"## {name}",
        f"{{py:class}}`~asrl_mlflow.losses.{kind.__name__}`: {first}",
        "\n".join(formulas),
        f"```{{image}} _losses/{name}.png\n:alt: {name}: what a residual costs, what its row weighs, how far it pulls\n```",
    ]
    return "\n\n".join(filter(None, lines))


def write(folder: Path) -> None:
    """Write the page's part and a picture of every loss of the catalogue into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, kind in losses.LOSSES.items():
        (folder / f"{name}.png").write_bytes(png(draw_loss(kind(**_SHOWN.get(name, {})))))
    (folder / PAGE).write_text("\n\n".join(map(section, losses.LOSSES)) + "\n", encoding="utf-8")
