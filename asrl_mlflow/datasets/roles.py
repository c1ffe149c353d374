"""Say what the columns of a table are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asrl_mlflow.errors import InputError, listed


@dataclass(frozen=True)
class Roles:
    """The columns that are not features, each with its role.

    Parameters
    ----------
    target : str, optional
        The column to predict; by default the last column without another role.
    weight : str, optional
        The column of sample weights.
    group : str, optional
        The column of groups; a split never separates rows with the same value.
    time : str, optional
        The column of numbers, dates or times to split by: training on earlier rows, testing on later.
    drop : tuple of str
        The columns that are not read.
    truth : str, optional
        The column of true targets, empty where they are unknown: models learn the target as it is given, and
        are judged on test rows by the true one.

    Raises
    ------
    InputError
        A column has two roles, or both group and time are given.
    """

    target: str | None = None
    weight: str | None = None
    group: str | None = None
    time: str | None = None
    drop: tuple[str, ...] = ()
    truth: str | None = None

    def __post_init__(self) -> None:
        if self.group is not None and self.time is not None:
            msg = (
                f"A split goes by group or by time; got group {self.group!r} and time {self.time!r}; "
                "leave one of them out."
            )
            raise InputError(msg)
        named = [*self.named, *self.drop]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            msg = f"A column can have one role; got {listed(twice)} in several; decide for one."
            raise InputError(msg)

    @property
    def named(self) -> list[str]:
        """The columns that have a role and are read, in the order target, weight, group, time, truth."""
        roles = (self.target, self.weight, self.group, self.time, self.truth)
        return [name for name in roles if name is not None]

    def target_among(self, names: Sequence[str], owner: str) -> str:
        """Choose the target among the columns: the named one, else the last without another role.

        Raises
        ------
        InputError
            Every column has another role; `owner` is who the message is about.

        Examples
        --------
        >>> Roles(weight="w").target_among(["a", "y", "w"], "table")
        'y'
        """
        if self.target is not None:
            return self.target
        left = [name for name in names if name not in self.named]
        if not left:
            msg = f"{owner}: needs a target; got none beside {listed(self.named)}; drop fewer columns."
            raise InputError(msg)
        return left[-1]
