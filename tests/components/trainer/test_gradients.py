import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.trainer.gradients import aggregate, clip_by_global_norm
from components.trainer.rows import gather_rows


def slices(rows, values, length=5):
    values = np.asarray(values, "f4")
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows, tf.int64), tf.constant([length, *values.shape[1:]], tf.int64))


def test_the_norm_is_of_all_gradients_and_repeated_rows_add_up():
    # Row 2 is 1 + 2 = 3, row 0 is 4; with the dense 12 that makes 13.
    clipped, norm = clip_by_global_norm([slices([2, 0, 2], [[1.0], [4.0], [2.0]]), None, tf.constant([12.0])], 6.5)
    assert float(norm) == 13.0
    assert clipped[1] is None
    assert isinstance(clipped[0], tf.IndexedSlices)
    assert dict(zip(clipped[0].indices.numpy(), clipped[0].values.numpy()[:, 0], strict=True)) == {2: 1.5, 0: 2.0}
    assert clipped[2].numpy().tolist() == [6.0]


def test_repeated_rows_may_cancel_out():
    assert float(clip_by_global_norm([slices([1, 1], [[3.0], [-3.0]])], 1.0)[1]) == 0.0


@pytest.mark.parametrize("gradients", [[tf.constant([3.0, 4.0])], [slices([1], [[3.0, 4.0]])], [None, tf.zeros(2)]])
def test_what_is_within_the_bound_is_not_changed(gradients):
    clipped, norm = clip_by_global_norm(gradients, 5.0)
    assert float(norm) in (5.0, 0.0)
    for old, new in zip(gradients, clipped, strict=True):
        if old is not None:
            np.testing.assert_array_equal(tf.convert_to_tensor(new), tf.convert_to_tensor(old))


def test_no_gradient_at_all():
    assert clip_by_global_norm([None], 1.0)[0] == [None]
    assert float(clip_by_global_norm([], 1.0)[1]) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_not_hidden(bad):
    clipped, norm = clip_by_global_norm([tf.constant([1.0]), slices([0], [[bad]])], 1.0)
    assert not math.isfinite(float(norm))
    assert math.isnan(float(clipped[1].values[0, 0]))


def test_half_precision_keeps_its_type_and_its_norm_does_not_overflow():
    clipped, norm = clip_by_global_norm([tf.constant([30_000.0, 40_000.0], tf.float16)], 5.0)
    assert float(norm) == pytest.approx(50_000, rel=1e-3)
    assert clipped[0].dtype == tf.float16
    np.testing.assert_allclose(clipped[0], [3.0, 4.0], rtol=1e-2)


@settings(deadline=None, max_examples=50)
@given(
    hnp.arrays("f4", st.tuples(st.integers(0, 6), st.just(2)), elements=st.floats(-4, 4, width=32)),
    hnp.arrays("f4", 3, elements=st.floats(-4, 4, width=32)),
    st.floats(0.01, 10.0),
    st.randoms(use_true_random=False),
)
def test_a_sparse_gradient_is_clipped_as_if_it_were_dense(values, dense, bound, random):
    sparse = slices([random.randrange(5) for _ in values], values)
    as_dense = tf.convert_to_tensor(sparse)
    want, want_norm = tf.clip_by_global_norm([as_dense, tf.constant(dense)], bound)
    clipped, norm = clip_by_global_norm([sparse, tf.constant(dense)], bound)
    assert float(norm) == pytest.approx(float(want_norm), rel=1e-5)
    for got, expected in zip(clipped, want, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(got), expected, rtol=1e-4, atol=1e-6)


def test_nothing_is_made_as_long_as_the_table():
    @tf.function
    def clip(rows, values):
        clipped, _ = clip_by_global_norm([tf.IndexedSlices(values, rows, tf.constant([977, 2], tf.int64))], 1.0)
        return clipped[0].values

    graph = clip.get_concrete_function(tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 2])).graph
    shapes = [output.shape for operation in graph.get_operations() for output in operation.outputs]
    assert not any(shape.rank and shape[0] == 977 for shape in shapes)


def test_one_replica_gets_back_what_it_gave():
    gradients = [slices([1], [[1.0]]), None, tf.constant([1.0])]
    assert all(a is b for a, b in zip(aggregate(gradients), gradients, strict=True))


def test_rows_and_their_gradient():
    table = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    with tf.GradientTape() as tape:
        tape.watch(table)
        rows = gather_rows(table, tf.constant([[2, 0]]))
        loss = tf.reduce_sum(rows * [[10.0, 1.0]])
    assert rows.numpy().tolist() == [[[5.0, 6.0], [1.0, 2.0]]]
    gradient = tape.gradient(loss, table)
    assert isinstance(gradient, tf.IndexedSlices)
    assert tf.convert_to_tensor(gradient).numpy().tolist() == [[10.0, 1.0], [0.0, 0.0], [10.0, 1.0]]
