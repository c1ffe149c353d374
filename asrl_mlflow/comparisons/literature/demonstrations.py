"""The two demonstrations: their points, their true lines, and the values that were published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from asrl_mlflow.comparisons.literature.line import FloatArray, Line


@dataclass(frozen=True)
class Points:
    """Points of a plane.

    Parameters
    ----------
    x, y : float64 arrays of shape (n,)
        Their coordinates.
    is_outlier : bool array of shape (n,)
        Which of them do not follow the true line.
    """

    x: FloatArray
    y: FloatArray
    is_outlier: npt.NDArray[np.bool_]

    @property
    def xy(self) -> tuple[FloatArray, FloatArray]:
        """The coordinates."""
        return self.x, self.y


@dataclass(frozen=True)
class Demonstration:
    """A line to find among outliers.

    Parameters
    ----------
    title : str
        What is fitted.
    source : str
        The publication.
    note : str
        What the source leaves out, and what stands for it here.
    truth : Line
        That most points follow.
    draw : callable
        From a seed to the points.
    published : mapping of str to (float, float)
        By name of the loss, the errors of slope and intercept in percent of the truth; empty where the
        source prints none.
    """

    title: str
    source: str
    note: str
    truth: Line
    draw: Callable[[int], Points]
    published: Mapping[str, tuple[float, float]]


_OUTLIER_LINE = Line(3.73, 8.84)
_FLIPPED_LINE = Line(0.7, 0.15)


def _draw_outliers(seed: int) -> Points:
    """1,000 points about the line, and 500 in a cloud beside it."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-4.6, 12.7, 1000)
    y = _OUTLIER_LINE.at(x) + rng.normal(size=1000)
    across, up, together = 0.70, 3.8, -0.22 * 0.70 * 3.8
    cloud = rng.multivariate_normal([-2.1, 45.6], [[across**2, together], [together, up**2]], 500)
    return Points(
        np.concatenate([x, cloud[:, 0]]),
        np.concatenate([y, cloud[:, 1]]),
        np.repeat([False, True], [1000, 500]),
    )


def _draw_flipped(seed: int) -> Points:
    """50 points about the line, of which about one in ten lies far on its other side."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=50)
    y = _FLIPPED_LINE.at(x) + rng.normal(scale=0.025, size=50)
    is_flipped = rng.uniform(size=50) > 0.9  # noqa: PLR2004 - the source's share
    return Points(x, np.where(is_flipped, 0.05 + 0.4 * (1 - np.sign(y - 0.5)), y), is_flipped)


DEMONSTRATIONS: Mapping[str, Demonstration] = MappingProxyType(
    {
        "outliers": Demonstration(
            title="A line, and 500 outliers in a cloud",
            source="Noel et al., arXiv 2303.09935, table 1",
            note=(
                "The source does not print the true line, the range of x, and where the outliers lie. "
                "The values here were searched so that its table comes out about right: they are one of "
                "many solutions, and no reproduction."
            ),
            truth=_OUTLIER_LINE,
            draw=_draw_outliers,
            published=MappingProxyType(
                {
                    "smae": (8.73, 22.6),
                    "log_cosh": (22.76, 82.3),
                    "squared_error": (68.2, 205.82),
                }
            ),
        ),
        "flipped": Demonstration(
            title="A line, and one point in ten flipped",
            source="J. T. Barron, the example of robust_loss_pytorch",
            note="The source draws other points from the same distribution, and prints no errors.",
            truth=_FLIPPED_LINE,
            draw=_draw_flipped,
            published=MappingProxyType({}),
        ),
    }
)
