"""A training whose rows are spread over workers is that of one machine."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from packaging.version import Version

from asrl_mlflow import losses, train
from asrl_mlflow.errors import InputError
from tests.conftest import PARAMS
from tests.ranks import run_ranks

pytestmark = pytest.mark.skipif(
    Version(xgboost.__version__) < Version("3.4"), reason="workers need XGBoost 3.4"
)

ROUNDS = 8
RNG = np.random.default_rng(7)
ROWS = 900
# Few values a feature, so that bins are the same wherever they are computed.
X = RNG.integers(0, 60, size=(ROWS, 4)).astype(np.float32)
Y = 40 + X[:, 0] / 6 + np.sin(X[:, 1]) + RNG.normal(size=ROWS)
Y[::10] += RNG.uniform(30, 100, ROWS // 10)
VALID = np.arange(ROWS) % 5 == 0
WEIGHTS = {"none": None, "counts": RNG.integers(0, 4, ROWS), "fractions": RNG.uniform(0.1, 3, ROWS)}
LOSSES = [losses.ContinuousASRL(), losses.auto(), losses.ASRL(), losses.MM(), losses.SquaredError()]


def learn(rows, loss, target=Y, weight=None, **options):
    """Train on the rows of one worker; give predictions of all rows, and the rounds that were heard."""
    own = rows & ~VALID
    valid = rows & VALID
    heard = []

    def matrix(some, **known):
        x = X[some] if some.any() else np.empty((0, 0), np.float32)
        w = None if weight is None else weight[some]
        return xgboost.QuantileDMatrix(x, label=target[some], weight=w, **known)

    dtrain = matrix(own)
    booster = train(
        PARAMS,
        dtrain,
        ROUNDS,
        loss=loss,
        evals=[(matrix(valid, ref=dtrain), "valid")],
        on_round=heard.append,
        **options,
    )
    return booster.inplace_predict(X), heard, booster.attributes()


def parts(count):
    """Whether a row is of a worker: uneven, and the second worker has none."""
    owner = np.searchsorted(
        np.cumsum([4, 0, *range(1, count - 1)][:count]), np.arange(ROWS) % 7, "right"
    )
    return [np.minimum(owner, count - 1) == rank for rank in range(count)]


@pytest.mark.parametrize("weighted", WEIGHTS)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_predictions_of_any_number_of_workers_are_those_of_one_machine(loss, weighted):
    weight = WEIGHTS[weighted]
    expected, rounds, attributes = learn(np.ones(ROWS, bool), loss, weight=weight)
    for count in (2, 4):
        for found, heard, own in run_ranks(
            count, lambda n, c=count: learn(parts(c)[n], loss, weight=weight)
        ):
            assert np.array_equal(found, expected)
            assert own == attributes
            for one, other in zip(heard, rounds, strict=True):
                assert one.metrics() == pytest.approx(other.metrics(), rel=1e-12)
                # The variance alone, which is rounded otherwise, makes a difference.
                assert loss.name == "asrl" or one.pointwise == other.pointwise


@pytest.mark.parametrize(
    ("target", "why"),
    [(Y * 1e-6, "tiny targets are scaled"), (Y + 1e6, "far targets are centred")],
    ids=["tiny", "far"],
)
def test_tiny_and_far_targets_are_prepared_as_on_one_machine(target, why):
    loss = losses.ContinuousASRL()
    expected, _, attributes = learn(np.ones(ROWS, bool), loss, target)
    for found, _, own in run_ranks(2, lambda rank: learn(parts(2)[rank], loss, target)):
        assert np.array_equal(found, expected), why
        assert own == attributes


def test_workers_stop_early_at_the_round_where_one_machine_stops():
    loss = losses.AdaptiveHuber()
    options = {"early_stopping_rounds": 1, "metric": "trimmed_mae"}
    expected, rounds, _ = learn(np.ones(ROWS, bool), loss, **options)
    for found, heard, _ in run_ranks(2, lambda rank: learn(parts(2)[rank], loss, **options)):
        assert np.array_equal(found, expected)
        assert len(heard) == len(rounds)


def test_a_worker_that_raises_ends_all():
    raised = []

    def work(rank):
        def fail(round_):
            if rank == 1 and round_.number == 2:
                msg = "enough"
                raise KeyError(msg)

        try:
            train(
                PARAMS,
                xgboost.QuantileDMatrix(X, label=Y),
                ROUNDS,
                loss=losses.ContinuousASRL(),
                on_round=fail,
            )
        except Exception as error:
            raised.append(type(error))
            raise

    with pytest.raises((KeyError, xgboost.core.XGBoostError)):
        run_ranks(3, work)
    assert raised.count(KeyError) == 1
    assert raised.count(xgboost.core.XGBoostError) == 2


def test_objectives_of_xgboost_that_die_of_an_empty_worker_are_refused():
    with pytest.raises(InputError, match=r"reg:absoluteerror needs rows on every worker; got 1"):
        run_ranks(3, lambda rank: learn(parts(3)[rank], losses.AbsoluteError()))
