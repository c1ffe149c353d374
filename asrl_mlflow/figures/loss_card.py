"""Show a loss in a notebook: its sentence, formulas and parameters, and what a row costs and how it pulls."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asrl_mlflow.cards import Card
from asrl_mlflow.figures.style import colour_of, style_axes, svg
from asrl_mlflow.losses import BaseLoss, ClassificationLoss, Loss, PointwiseLoss
from asrl_mlflow.residuals import Residuals

_ROWS, _POINTS, _REACH, _MARGINS = 5_000, 401, 4.0, 6.0
_TITLES = {
    "core": "loss in the core",
    "middle": "loss in the middle",
    "tail": "loss in the tail",
    "everywhere": "loss of a row",
}


def loss_card(loss: BaseLoss) -> Card:
    """Describe a loss for a notebook.

    Parameters
    ----------
    loss : BaseLoss
        A loss of the catalogue or of a user.

    Examples
    --------
    >>> from asrl_mlflow.losses import Huber
    >>> card = loss_card(Huber(delta=2.0))
    >>> card.facts["delta"], card.picture.startswith("<svg")
    ('2', True)
    """
    formulas = {
        _TITLES.get(name, name): text.replace("`", "")
        for name, text in loss.FORMULAS._asdict().items()
        if text
    }
    params = {
        key: value if isinstance(value, str) else f"{value:g}"
        for key, value in dataclasses.asdict(loss).items()
        if value is not None
    }
    sentence = (inspect.getdoc(type(loss)) or "").partition("\n\n")[0].replace("\n", " ")
    figure = _draw(loss)
    return Card(
        title=str(loss),
        sentence=sentence,
        facts={"name": loss.label, **params, **formulas},
        picture="" if figure is None else svg(figure),
    )


def _draw(loss: BaseLoss) -> Figure | None:
    figure = Figure(figsize=(6.4, 2.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    if isinstance(loss, ClassificationLoss):
        _draw_margins(loss, left, right)
    elif isinstance(loss, Loss):
        residuals = np.random.default_rng(0).standard_normal(_ROWS)
        _draw_residuals(loss.adapt(Residuals(residuals)), loss.name, left, right)
    else:
        return None
    for axes in (left, right):
        style_axes(axes)
    return figure


def _draw_residuals(pointwise: PointwiseLoss, name: str, left: Axes, right: Axes) -> None:
    """Draw a loss by residual, at the thresholds that it takes where residuals are standard normal."""
    limits = [limit for limit in pointwise.regions.values() if np.isfinite(limit)]
    reach = max([_REACH, *(1.3 * limit for limit in limits)])
    # A jump is drawn as one, from just inside to just outside the threshold.
    beside = [float(np.nextafter(limit, side)) for limit in limits for side in (0, np.inf)]
    half = np.union1d(np.linspace(0, reach, _POINTS), beside)
    r = np.concatenate([-half[::-1], half])
    for axes, curve, title in (
        (left, pointwise.value(r), "loss of a row"),
        (right, pointwise.influence(r) / pointwise.row_weight, "gradient, by the residual"),
    ):
        axes.plot(r, curve, color=colour_of(name), linewidth=2)
        axes.set_title(title, fontsize="small")
        axes.set_xlabel("residual, where these are standard normal", fontsize="small")
        for limit in limits:
            for place in (-limit, limit):
                axes.axvline(place, color="#8C8C8C", linewidth=0.8, linestyle=":")


def _draw_margins(loss: ClassificationLoss, left: Axes, right: Axes) -> None:
    """Draw a loss for two classes by the margin of a row's own class."""
    s = np.linspace(-_MARGINS, _MARGINS, _POINTS)
    terms, times = loss.margin_terms(s), loss.balance[1]
    for axes, curve, title in (
        (left, times * terms.value, "loss of a row"),
        (right, times * terms.gradient, "gradient, by the margin"),
    ):
        axes.plot(s, curve, color=colour_of(loss.name), linewidth=2)
        axes.set_title(title, fontsize="small")
        axes.set_xlabel("margin for the row's own class", fontsize="small")
