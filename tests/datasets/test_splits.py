"""Splits: shares, groups and time that nothing parts, the paper's split, and spoiling."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow.comparisons.paper.protocol import split_as_the_paper
from asrl_mlflow.datasets.contamination import (
    CONTAMINATIONS,
    OF_CLASSES,
    OF_NUMBERS,
    WITH_SHARE,
    Contamination,
    contaminate,
)
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import Blocks, Rows, folds, join, split
from asrl_mlflow.errors import InputError


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


def classed(counts, groups=None):
    """Rows of classes "a", "b", ... so many of each; in groups of `groups` rows that lie side by side."""
    codes = np.repeat(np.arange(len(counts)), counts)
    codes = np.random.default_rng(0).permutation(codes).astype(np.float64)
    features = pd.DataFrame({"row": np.arange(codes.size)})
    blocks = None if groups is None else Blocks(np.arange(codes.size) // groups, in_time=False)
    return Rows(features, codes, blocks=blocks, classes=tuple("abcdefgh"[: len(counts)]))


def members(rows):
    return np.bincount(rows.target.astype(int), minlength=len(rows.classes))


COUNTS = st.lists(st.integers(5, 40), min_size=2, max_size=8)


@given(COUNTS.filter(lambda counts: sum(counts) >= 20), st.integers(0, 5))
def test_a_split_gives_each_part_its_share_of_each_class(counts, seed):
    rows = classed(counts)
    parts = split(rows, seed)
    each = [parts.train, parts.valid, parts.test]
    assert sorted(np.concatenate([some.features["row"] for some in each])) == list(range(len(rows)))
    for some, fifths in zip(each, (3, 1, 1), strict=True):
        assert some.classes == rows.classes
        assert abs(len(some) - fifths * len(rows) / 5) <= fifths
        # Each class to within one row a fifth, so five rows of a class are enough for every part.
        assert (np.abs(members(some) - fifths * np.array(counts) / 5) < fifths).all()
        assert members(some).all()


@given(COUNTS, st.integers(2, 6), st.integers(0, 5))
def test_folds_divide_each_class_evenly(counts, count, seed):
    rows = classed(counts)
    pairs = folds(rows, count, seed)
    judged = np.concatenate([one.features["row"] for _, one in pairs])
    assert sorted(judged) == list(range(len(rows)))
    for learned, one in pairs:
        assert not set(learned.features["row"]) & set(one.features["row"])
        assert len(learned) + len(one) == len(rows)
        assert learned.classes == one.classes == rows.classes
        assert (np.abs(members(one) - np.array(counts) / count) < 1).all()


def test_folds_of_classes_move_with_the_seed():
    rows = classed([30, 20, 10])
    first, again, other = (folds(rows, 5, seed)[0][1].features["row"] for seed in (0, 0, 1))
    assert list(first) == list(again) != list(other)


@pytest.mark.parametrize("seed", range(5))
def test_a_split_by_group_gives_each_part_rows_of_each_class_and_parts_no_group(seed):
    rows = classed([400, 60, 40], groups=5)
    parts = split(rows, seed)
    each = [parts.train, parts.valid, parts.test]
    groups = [set(some.features["row"] // 5) for some in each]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 100
    for some, fifths in zip(each, (3, 1, 1), strict=True):
        np.testing.assert_allclose(
            members(some), fifths * members(rows) / 5, rtol=0.4, err_msg=str(fifths)
        )
    for learned, judged in folds(rows, 4, seed):
        assert not set(learned.features["row"] // 5) & set(judged.features["row"] // 5)
        assert members(judged).all()


def test_a_split_by_group_with_classes_moves_with_the_seed_though_no_two_groups_are_alike():
    # Of one class each, and no two of one size.
    groups = np.repeat(np.arange(34), np.arange(1, 35))
    rows = Rows(
        pd.DataFrame({"row": np.arange(groups.size)}),
        groups % 2.0,
        blocks=Blocks(groups, in_time=False),
        classes=("a", "b"),
    )
    tests = {tuple(sorted(split(rows, seed).test.features["row"])) for seed in range(10)}
    assert len(tests) >= 4


def test_groups_too_few_for_a_fold_each_are_split_as_those_of_numbers_are():
    rows = classed([60, 40], groups=25)
    numbers = Rows(rows.features, rows.target, blocks=rows.blocks)
    for ours, theirs in zip(
        vars(split(rows, 0)).values(), vars(split(numbers, 0)).values(), strict=True
    ):
        np.testing.assert_array_equal(ours.features, theirs.features)
    assert len(folds(rows, 5, 0)) == 4


def test_classes_in_time_are_not_shuffled():
    rows = part(np.arange(100), in_time=True)
    rows = Rows(rows.features, rows.target % 2, blocks=rows.blocks, classes=("a", "b"))
    parts = split(rows, 0)
    np.testing.assert_array_equal(parts.test.features["row"], np.arange(80, 100))
    assert parts.test.classes == ("a", "b")


def test_joined_rows_have_the_classes_of_both():
    rows = classed([30, 20])
    parts = split(rows, 0)
    both = join(parts.train, parts.valid)
    assert both.classes == rows.classes
    assert len(both) == 40


SHARES = st.floats(0, 1)


@given(COUNTS.filter(lambda counts: sum(counts) >= 20), SHARES, st.integers(0, 5))
def test_flips_give_a_share_of_the_rows_another_class_and_never_the_test_rows(counts, share, seed):
    parts = split(classed(counts), 0)
    spoiled = contaminate(parts, "flip", share, seed)
    for before, after in ((parts.train, spoiled.train), (parts.valid, spoiled.valid)):
        assert (after.target != before.target).sum() == round(share * len(before))
        assert set(after.target) <= set(range(len(counts)))
    assert spoiled.test is parts.test


@given(COUNTS.filter(lambda counts: sum(counts) >= 20), SHARES, st.integers(0, 5))
def test_flips_to_the_next_class_take_a_share_of_each_class_but_the_last(counts, share, seed):
    parts = split(classed(counts), 0)
    spoiled = contaminate(parts, "flip_next", share, seed)
    for before, after in ((parts.train, spoiled.train), (parts.valid, spoiled.valid)):
        moved = after.target - before.target
        assert set(moved) <= {0, 1}
        flipped = [int(moved[before.target == code].sum()) for code in range(len(counts))]
        expected = [round(share * count) for count in members(before)[:-1]]
        assert flipped == [*expected, 0]
    assert spoiled.test is parts.test


def test_a_flip_takes_each_other_class_equally_often():
    parts = split(classed([5000, 5000, 5000, 5000]), 0)
    spoiled = contaminate(parts, "flip", 1.0, 0)
    step = (spoiled.train.target - parts.train.target).astype(int) % 4
    # 12000 rows on three classes: 4000 each, with a standard deviation of 52.
    np.testing.assert_allclose(np.bincount(step), [0, 4000, 4000, 4000], atol=260)


def test_the_adversary_moves_a_share_at_an_edge_of_the_features_all_one_way_whatever_the_seed():
    rng = np.random.default_rng(0)
    along = rng.normal(size=1000)
    frame = pd.DataFrame(
        {
            "a": along + 0.1 * rng.normal(size=1000),
            "b": 50 - along,
            "c": rng.normal(size=1000),
            "kind": pd.Categorical(rng.choice(["x", "y"], 1000)),
        }
    )
    parts = split(Rows(frame, rng.normal(size=1000)), 0)
    spoiled = contaminate(parts, "adversarial", 0.05, 0)
    again = contaminate(parts, "adversarial", 0.05, 1)
    known = np.concatenate([parts.train.target, parts.valid.target])
    inner, outer = [], []
    for name, count in (("train", 30), ("valid", 10)):
        clean, moved = getattr(parts, name), getattr(spoiled, name)
        np.testing.assert_array_equal(moved.target, getattr(again, name).target)
        chosen = moved.target != clean.target
        assert chosen.sum() == count
        np.testing.assert_allclose((moved.target - clean.target)[chosen], 10 * known.std())
        place = clean.features["a"] - clean.features["b"]
        outer += list(place[chosen])
        inner += list(place[~chosen])
    # Features that vary by themselves tilt the axis a little.
    assert min(outer) > max(inner) - 1 or max(outer) < min(inner) + 1
    assert spoiled.test is parts.test


@pytest.mark.skipif("ASRL_DATA_DIR" not in os.environ, reason="needs a table of the paper")
def test_the_adversary_hurts_squared_error_more_than_errors_at_random():
    rows = load("airfoil").rows
    params = {"max_depth": 6, "learning_rate": 0.1, "nthread": 1}
    errors = {"asym": [], "adversarial": []}
    for seed in range(3):
        parts = split(rows, seed)
        for kind, found in errors.items():
            spoiled = contaminate(parts, kind, 0.01, seed)
            known = join(spoiled.train, spoiled.valid)
            booster = xgboost.train(params, make_matrix(known), 100)
            found.append(np.abs(booster.inplace_predict(parts.test.features) - parts.test.target))
    assert np.mean(errors["adversarial"]) > 1.15 * np.mean(errors["asym"])


def test_what_spoils_numbers_is_refused_for_classes_and_the_other_way_round():
    numbers, classes = split(load().rows, 0), split(classed([30, 30]), 0)
    for kind in OF_NUMBERS:
        with pytest.raises(InputError) as caught:
            contaminate(classes, kind, 0.1, 0)
        assert str(caught.value) == (
            "Targets that are classes are spoiled by 'flip' or 'flip_next'; got "
            f"{kind!r}; choose one of those."
        )
    for kind in OF_CLASSES:
        with pytest.raises(
            InputError, match="Targets that are numbers are spoiled by 'sym' or 'asym'"
        ):
            contaminate(numbers, kind, 0.1, 0)


@pytest.mark.parametrize(
    ("spoiling", "words"),
    [
        (Contamination(), ""),
        (
            Contamination("cauchy", 0.3),
            "; all training targets spoiled (cauchy), test targets clean",
        ),
        (
            Contamination("flip_next", 0.25),
            "; 25% of the training labels of each class but the last flipped to the next, test "
            "labels clean",
        ),
    ],
)
def test_a_title_says_what_was_spoiled(spoiling, words):
    assert spoiling.describe() == words


def test_every_contamination_is_of_numbers_or_of_classes_and_all_but_cauchy_take_a_share():
    assert set(CONTAMINATIONS) == {"none", *OF_NUMBERS, *OF_CLASSES}
    assert set(CONTAMINATIONS) - set(WITH_SHARE) == {"none", "cauchy"}
