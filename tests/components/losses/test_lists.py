import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from components.trainer.losses.lists import to_lists
from tests.components.losses.strategies import displays, flat, padded


def lists(labels, scores, weights, display):
    return [x.numpy().tolist() for x in to_lists(*map(tf.constant, (labels, scores, weights)), tf.constant(display, tf.int32))]


def test_rows_of_two_displays_with_padding_between_and_behind():
    labels, scores, weights, mask = lists(
        [1.0, 0.0, np.nan, 0.0, 1.0, 0.0, np.nan],
        [0.5, 0.25, np.nan, 0.75, 3.0, 4.0, np.nan],
        [1.0, 2.0, 0.0, 1.0, 1.0, 1.0, 0.0],
        [0, 0, -7, 0, 1, 1, 99],
    )
    assert labels == [[1, 0, 0], [1, 0, 0]]
    assert scores == [[0.5, 0.25, 0.75], [3, 4, 0]]
    assert weights == [[1, 2, 1], [1, 1, 0]]
    assert mask == [[True, True, True], [True, True, False]]


def test_a_number_that_is_skipped_is_an_empty_display():
    assert lists([1.0, 1.0], [5.0, 6.0], [1.0, 1.0], [0, 2])[3] == [[True], [False], [True]]


@pytest.mark.parametrize("weights", [[], [0.0, 0.0]])
def test_nothing_but_padding_has_no_displays(weights):
    got = to_lists(tf.zeros(len(weights)), tf.zeros(len(weights)), tf.constant(weights), tf.zeros(len(weights), tf.int32))
    assert {tuple(x.shape) for x in got} == {(0, 0)}


@pytest.mark.parametrize("display", [[0, 1, 0], [-1, 0, 0]])
def test_a_display_that_falls_or_is_negative_is_an_error(display):
    with pytest.raises(tf.errors.InvalidArgumentError):
        lists([0.0] * 3, [0.0] * 3, [1.0] * 3, display)


def test_the_gradient_goes_to_the_rows_and_not_to_padding():
    scores = tf.constant([1.0, 2.0, np.nan, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        made = to_lists(tf.zeros(4), scores, tf.constant([1.0, 1.0, 0.0, 1.0]), tf.constant([0, 0, 5, 1]))
        total = tf.reduce_sum(made.scores * tf.constant([[10.0, 20.0], [30.0, 40.0]]))
    assert tf.convert_to_tensor(tape.gradient(total, scores)).numpy().tolist() == [10, 20, 0, 30]


@settings(max_examples=30, deadline=None)
@given(displays=displays)
def test_equals_lists_made_by_hand(displays):
    expected = padded(displays)
    for name, got in to_lists(*flat(displays))._asdict().items():
        np.testing.assert_array_equal(got, expected[name])


def test_works_in_a_graph_for_any_number_of_rows():
    traced = tf.function(to_lists, input_signature=[tf.TensorSpec([None])] * 3 + [tf.TensorSpec([None], tf.int32)])
    for rows in (3, 5):
        made = traced(tf.ones(rows), tf.range(rows, dtype=tf.float32), tf.ones(rows), tf.range(rows) // 2)
        assert made.mask.shape == (-(-rows // 2), 2)
        assert float(tf.reduce_sum(made.scores)) == rows * (rows - 1) / 2
