"""Splits: shares, groups and time that nothing parts, the paper's split, and spoiling."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow.datasets.contamination import contaminate
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.splits import Blocks, Rows, split
from asrl_mlflow.paper.protocol import split_as_the_paper


def part(codes, *, in_time):
    count = len(codes)
    _, dense = np.unique(codes, return_inverse=True)
    features = pd.DataFrame({"row": np.arange(count)})
    return Rows(features, np.arange(count) * 1.0, None, Blocks(dense, in_time=in_time))


CODES = st.lists(st.integers(0, 20), min_size=20, max_size=200).filter(lambda c: len(set(c)) >= 3)


@given(CODES, st.booleans(), st.integers(0, 5))
def test_no_block_is_parted_and_no_row_lost(codes, in_time, seed):
    rows = part(codes, in_time=in_time)
    parts = split(rows, seed)
    taken = [each.features["row"].to_numpy() for each in (parts.train, parts.valid, parts.test)]
    assert sorted(np.concatenate(taken)) == list(range(len(codes)))
    groups = [set(rows.blocks.codes[each]) for each in taken]
    assert all(groups)
    assert sum(map(len, groups)) == rows.blocks.count
    if in_time:
        assert max(groups[0]) < min(groups[1])
        assert max(groups[1]) < min(groups[2])


def test_many_small_groups_are_cut_near_60_20_20_and_move_with_the_seed():
    rows = part(np.arange(1000) // 5, in_time=False)
    parts = split(rows, 0)
    assert [len(each) for each in (parts.train, parts.valid, parts.test)] == [600, 200, 200]
    other = split(rows, 1)
    assert set(parts.test.features["row"]) != set(other.test.features["row"])


def test_a_split_by_time_is_the_same_for_every_seed():
    rows = part(np.arange(100)[::-1] // 2, in_time=True)
    for seed in range(3):
        np.testing.assert_array_equal(
            np.sort(split(rows, seed).train.features["row"]), np.arange(40, 100)
        )


def test_weights_go_with_their_rows():
    rows = Rows(pd.DataFrame({"row": np.arange(100)}), np.arange(100.0), np.arange(100) + 1.0)
    for each in vars(split(rows, 0)).values():
        np.testing.assert_array_equal(each.weight, each.features["row"] + 1.0)
        np.testing.assert_array_equal(each.target, each.features["row"])


def test_the_papers_split_is_80_20_and_judges_each_round_by_the_test_rows():
    parts = split_as_the_paper(load().rows)
    assert (len(parts.train), len(parts.test)) == (353, 89)
    assert parts.valid is parts.test
    both = pd.concat([parts.train.features, parts.test.features])
    assert len(both) == len(load().rows)


def test_a_split_is_60_20_20_without_overlap_and_moves_with_the_seed():
    table = load().rows
    parts = split(table, 3)
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [265, 88, 89]
    together = pd.concat([parts.train.features, parts.valid.features, parts.test.features])
    pd.testing.assert_frame_equal(
        together.sort_values(list(together)).reset_index(drop=True),
        table.features.sort_values(list(together)).reset_index(drop=True),
    )
    again, other = split(table, 3), split(table, 4)
    np.testing.assert_array_equal(parts.test.target, again.test.target)
    assert not np.array_equal(parts.test.target, other.test.target)


@pytest.mark.parametrize(("kind", "lowest"), [("asym", 3.0), ("sym", -10.0)])
def test_contamination_moves_a_share_of_train_and_valid_and_never_the_test_rows(kind, lowest):
    parts = split(load().rows, 0)
    spoiled = contaminate(parts, kind, 0.2, 1)
    deviation = np.concatenate([parts.train.target, parts.valid.target]).std()
    for before, after in ((parts.train, spoiled.train), (parts.valid, spoiled.valid)):
        moved = (after.target - before.target) / deviation
        hit = moved[moved != 0]
        assert len(hit) == round(0.2 * len(before))
        assert lowest <= hit.min()
        assert hit.max() <= 10
        assert np.abs(hit).min() >= 3
        assert (hit.min() < 0) == (kind == "sym")
    assert spoiled.test is parts.test


def test_cauchy_contamination_moves_every_row_by_a_tenth_of_the_deviation():
    parts = split(load().rows, 0)
    spoiled = contaminate(parts, "cauchy", 0.0, 1)
    deviation = np.concatenate([parts.train.target, parts.valid.target]).std()
    moved = (spoiled.train.target - parts.train.target) / deviation
    assert (moved != 0).all()
    # The median of |standard Cauchy| is 1.
    assert np.median(np.abs(moved)) == pytest.approx(0.1, rel=0.25)
    assert spoiled.test is parts.test


def test_no_contamination_changes_nothing():
    parts = split(load().rows, 0)
    assert contaminate(parts, "none", 0.0, 1) is parts
