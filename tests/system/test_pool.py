"""Work in parallel processes: what a process takes with it when it dies is done again, or given up."""

from __future__ import annotations

import os
import signal

import pytest

from asrl_mlflow.errors import InputError
from asrl_mlflow.system.pool import work_on_all


def square(number):
    """The square; of 3 there is none, as its process dies."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def die_once(path):
    """Give the file's name, and die if no other of its folder has died yet."""
    marker = path.with_name("died")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def test_an_item_that_kills_its_process_is_given_up_and_all_others_are_done():
    found = work_on_all(square, range(8), 2, died=lambda number: -number)
    assert sorted(found) == [-3, 0, 1, 4, 16, 25, 36, 49]


def test_an_item_whose_process_died_is_tried_again_alone(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    assert sorted(work_on_all(die_once, paths, 2, died=str)) == ["a", "b", "c"]


def test_without_a_result_for_the_dead_a_death_is_one_line():
    with pytest.raises(
        InputError, match="needs worker processes that live; got one that died, of 2"
    ):
        list(work_on_all(square, range(8), 2))


def test_nothing_is_begun_again_after_the_time_is_over():
    begun = []

    def goes_on():
        begun.append(None)
        return len(begun) <= 4

    found = list(work_on_all(square, range(8), 2, goes_on=goes_on, died=lambda number: -number))
    assert set(found) <= {0, 1, 4}
