"""Losses of whole displays: means over displays. Arguments as in `contract.py`, of shape (displays, list size).

A display without a positive label is not counted. A display weighs the mean weight of its items, by label: with one click, what
the clicked item weighs. `jrc` differs in both; see there. Masks within a display are (displays, i, j): j counts for item i.
"""

import tensorflow as tf

from components.trainer.losses.contract import Items, LossSum, add_up, clean_lists

_NOTHING = -1e30
"""The score of padding in a log-sum-exp: finite, so that a display of nothing but padding makes no infinities."""


def softmax(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    temperature: float = 1.0,
) -> LossSum:
    """-sum_i y_i log(e^{s_i} / sum_j e^{s_j}), with scores divided by `temperature`: ListNet (Cao et al. 2007)."""
    items = clean_lists(labels, scores, mask, weights)
    return _over_displays(items, -tf.reduce_sum(items.labels * _log_softmax(items.scores / temperature, items.mask), axis=1))


def calibrated_softmax(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    virtual_label: float = 0.0,
    temperature: float = 1.0,
) -> LossSum:
    """`softmax` with one more item in each display, of score 0 and label `virtual_label`: Yan et al. 2022, KDD."""
    items = clean_lists(labels, scores, mask, weights)
    front = [[0, 0], [1, 0]]
    log_share = _log_softmax(  # (displays, 1 + list size)
        tf.pad(items.scores / temperature, front), tf.pad(items.mask, front, constant_values=True)
    )
    return _over_displays(items, -tf.reduce_sum(tf.pad(items.labels, front, constant_values=virtual_label) * log_share, axis=1))


def unique_softmax(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    temperature: float = 1.0,
) -> LossSum:
    """-sum_i (2^{y_i} - 1) log(e^{s_i} / (e^{s_i} + sum_{y_j < y_i} e^{s_j})), with scores divided by `temperature`.

    As `unique_softmax_loss` of TensorFlow Ranking.
    """
    items = clean_lists(labels, scores, mask, weights)
    lower = items.labels[:, None, :] < items.labels[:, :, None]
    log_share = _log_share_among(items.scores / temperature, lower & items.mask[:, None, :])
    return _over_displays(items, -tf.reduce_sum(_gain(items.labels) * log_share, axis=1))


def list_mle(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    temperature: float = 1.0,
) -> LossSum:
    """-sum_i log(e^{s_i} / sum_{y_j <= y_i} e^{s_j}), with scores divided by `temperature`: ListMLE (Xia et al. 2008).

    Without equal labels, this is the negative log likelihood of the order by label under the Plackett-Luce model. Equal labels
    have no order, and each of them is compared with all of them: the rule of Breslow (1974) for ties. So the value does not
    depend on the order of the items or on chance, and equal scores are best for equal labels.
    """
    items = clean_lists(labels, scores, mask, weights)
    not_higher = items.labels[:, None, :] <= items.labels[:, :, None]
    log_share = _log_share_among(items.scores / temperature, not_higher & items.mask[:, None, :])
    return _over_displays(items, -tf.reduce_sum(tf.where(items.mask, log_share, 0.0), axis=1))


def approx_ndcg(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    temperature: float = 0.1,
) -> LossSum:
    """-DCG / ideal DCG, with DCG = sum_i (2^{y_i} - 1) / log2(1 + rank_i) and smooth ranks: Qin et al. 2010. From -1 to 0."""
    items = clean_lists(labels, scores, mask, weights)
    reached = _dcg(items.labels, _smooth_ranks(items, temperature))
    ideal_ranks = 1.0 + tf.range(tf.shape(items.labels)[1], dtype=tf.float32)  # (list size,)
    # Padding has label 0, hence no gain, wherever it is sorted to.
    ideal = _dcg(tf.sort(items.labels, axis=1, direction="DESCENDING"), ideal_ranks)
    return _over_displays(items, -tf.math.divide_no_nan(reached, ideal))


def approx_mrr(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    temperature: float = 0.1,
) -> LossSum:
    """-sum_i y_i / rank_i / sum_i y_i, with smooth ranks. From -1 to 0."""
    items = clean_lists(labels, scores, mask, weights)
    reached = tf.reduce_sum(items.labels / _smooth_ranks(items, temperature), axis=1)
    return _over_displays(items, -tf.math.divide_no_nan(reached, tf.reduce_sum(items.labels, axis=1)))


def jrc(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    alpha: float = 0.5,
    temperature: float = 1.0,
) -> LossSum:
    """Joint optimization of ranking and calibration: Sheng et al. 2023, KDD (arXiv:2208.06164). A mean over rows.

    alpha * cross entropy + (1 - alpha) * -log(the row's share of its display), where the share is by softmax over the display's
    rows of the logit of the row's own class. The paper's model has a logit for each of the two classes. Ours has one logit s, and
    they are (-s/2, s/2): the softmax over these two is sigmoid(s). Only the share's logits are divided by `temperature`, for
    sigmoid(s) is to stay a probability. Rows count by their weights, those of displays without a positive label, too: they say
    that probabilities should be low.
    """
    items = clean_lists(labels, scores, mask, weights)
    half = items.scores / (2.0 * temperature)
    log_share = items.labels * _log_softmax(half, items.mask) + (1.0 - items.labels) * _log_softmax(-half, items.mask)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(items.labels, items.scores)
    return add_up(alpha * entropy - (1.0 - alpha) * tf.where(items.mask, log_share, 0.0), items.weights)


def _over_displays(items: Items, losses: tf.Tensor) -> LossSum:
    """Sums the losses (displays,) of the displays with a positive."""
    weights = tf.math.divide_no_nan(tf.reduce_sum(items.weights * items.labels, axis=1), tf.reduce_sum(items.labels, axis=1))
    return add_up(losses, weights)


def _log_softmax(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """log(e^{s_i} / sum_j e^{s_j}) over the real items of each display, 0 for padding."""
    log_sum = tf.reduce_logsumexp(tf.where(mask, scores, _NOTHING), axis=1, keepdims=True)  # (displays, 1)
    return tf.where(mask, scores - log_sum, 0.0)


def _log_share_among(scores: tf.Tensor, among: tf.Tensor) -> tf.Tensor:
    """log(e^{s_i} / sum_j e^{s_j}) over i itself and the j that `among` (displays, i, j) says: (displays, i)."""
    among = among | tf.eye(tf.shape(scores)[1], dtype=tf.bool)
    return scores - tf.reduce_logsumexp(tf.where(among, scores[:, None, :], _NOTHING), axis=2)


def _smooth_ranks(items: Items, temperature: float) -> tf.Tensor:
    """1 + sum_{j != i} sigmoid((s_j - s_i) / temperature): (displays, list size)."""
    ahead = tf.sigmoid((items.scores[:, None, :] - items.scores[:, :, None]) / temperature)  # (displays, i, j)
    others = items.mask[:, None, :] & ~tf.eye(tf.shape(items.scores)[1], dtype=tf.bool)
    return 1.0 + tf.reduce_sum(tf.where(others, ahead, 0.0), axis=2)


def _dcg(labels: tf.Tensor, ranks: tf.Tensor) -> tf.Tensor:
    """(displays,) of (displays, list size)."""
    return tf.reduce_sum(_gain(labels) * tf.math.log(2.0) / tf.math.log1p(ranks), axis=1)


def _gain(labels: tf.Tensor) -> tf.Tensor:
    return tf.pow(2.0, labels) - 1.0
