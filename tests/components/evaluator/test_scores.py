import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluator.scores import BUCKETS, auc, bucket_of, edges, log_losses


def test_buckets_by_hand():
    scores = np.array([-0.1, 0.0, 0.0009, 0.001, 0.5, 0.9999, 1.0, 7.0, math.inf, math.nan])
    assert bucket_of(scores).tolist() == [0, 1, 1, 2, 501, 1000, 1001, 1001, 1001, 0]


@given(st.floats(-2, 2, width=32) | st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_score_is_between_the_edges_of_its_bucket(score):
    bucket = bucket_of(np.array([score], np.float32))[0]
    assert len(edges()) == BUCKETS + 1
    assert edges()[bucket] <= score < edges()[bucket + 1]


def test_auc_by_hand():
    # bins:              0  1  2
    assert auc(np.array([1, 0, 0]), np.array([0, 0, 1])) == 1.0
    assert auc(np.array([0, 0, 1]), np.array([1, 0, 0])) == 0.0
    assert auc(np.array([1, 1, 0]), np.array([0, 1, 1])) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert math.isnan(auc(np.array([0, 2]), np.array([0, 0])))


def test_log_losses_by_hand():
    got = log_losses(np.array([0.25, 0.25, 0.0, 1.0, math.nan]), np.array([True, False, True, True, False]))
    assert got[:4] == pytest.approx([-math.log(0.25), -math.log(0.75), -math.log(1e-7), -math.log1p(-1e-7)])
    assert math.isnan(got[4])
