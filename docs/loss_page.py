"""Write the part of the catalogue's page that comes from the code: a section and a picture a loss."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from asrl_mlflow import losses
from asrl_mlflow.figures.class_figures import draw_margin_loss
from asrl_mlflow.figures.loss_figures import INFLUENCE, VALUE, WEIGHT, draw_loss_shape
from asrl_mlflow.figures.style import png
from asrl_mlflow.residuals import Residuals

# In Markdown, but no pages of their own.
NUMBERS, CLASSES = "numbers.txt", "classes.txt"
# Shown otherwise than by default: at the middle level both sides are alike.
_SHOWN = {"quantile": {"level": 0.8}, "expectile": {"level": 0.8}}
_DRAWN = {
    losses.Loss: "what a residual costs, what its row weighs, how far it pulls",
    losses.ClassificationLoss: "what a row costs, and how hard it pulls beside log loss",
}


def draw_loss(loss: losses.BaseLoss) -> Figure:
    """Draw a loss: by residual as it is when these are standard normal, or by the margin of a row's class.

    Parameters
    ----------
    loss : BaseLoss
        With the parameters to show.
    """
    values = ", ".join(f"{key} = {value}" for key, value in vars(loss).items() if value is not None)
    if isinstance(loss, losses.ClassificationLoss):
        return draw_margin_loss(loss, "; ".join(filter(None, [values, "two classes, one margin"])))
    residuals = np.random.default_rng(0).standard_normal(20_000)
    context = "; ".join(filter(None, [values, "residuals are standard normal"]))
    panels = (VALUE, WEIGHT, INFLUENCE)
    return draw_loss_shape(loss.adapt(Residuals(residuals)), 4.0, loss.name, context, panels)


def section(kind: type[losses.BaseLoss]) -> str:
    """Write the section of a loss: what it is, its formulas, where its class is described, its picture.

    Parameters
    ----------
    kind : type of BaseLoss
        A loss of the catalogue.
    """
    name, first = kind.name, inspect.getdoc(kind).partition("\n\n")[0].replace("\n", " ")
    formulas = [
        f"- {label}: {formula}" for label, formula in kind.FORMULAS._asdict().items() if formula
    ]
    drawn = next(each for task, each in _DRAWN.items() if issubclass(kind, task))
    lines = [
        f"### {name}",
        f"{{py:class}}`~asrl_mlflow.losses.{kind.__name__}`: {first}",
        "\n".join(formulas),
        f"```{{image}} _losses/{name}.png\n:alt: {name}: {drawn}\n```",
    ]
    return "\n\n".join(filter(None, lines))


def write(folder: Path) -> None:
    """Write the page's parts and a picture of every loss of the catalogue into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, kinds in ((NUMBERS, losses.LOSSES), (CLASSES, losses.CLASSIFICATION_LOSSES)):
        for name, kind in kinds.items():
            (folder / f"{name}.png").write_bytes(png(draw_loss(kind(**_SHOWN.get(name, {})))))
        text = "\n\n".join(map(section, kinds.values()))
        (folder / part).write_text(f"{text}\n", encoding="utf-8")
