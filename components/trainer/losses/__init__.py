"""The losses by name. `mix.py` puts those that the configuration names together; docs/losses.md has the formulas."""

from collections.abc import Mapping

from components.trainer.losses import listwise, pairwise, pointwise
from components.trainer.losses.contract import LossFunction

FUNCTIONS: Mapping[str, LossFunction] = {
    "sigmoid_cross_entropy": pointwise.sigmoid_cross_entropy,
    "softmax_cross_entropy": pointwise.sigmoid_cross_entropy,
    "l2": pointwise.l2,
    "sigmoid_l2": pointwise.sigmoid_l2,
    "f1_reweighted": pointwise.f1_reweighted,
    "focal": pointwise.focal,
    "pairwise_logistic": pairwise.pairwise_logistic,
    "pairwise_hinge": pairwise.pairwise_hinge,
    "softmax": listwise.softmax,
    "calibrated_softmax": listwise.calibrated_softmax,
    "unique_softmax": listwise.unique_softmax,
    "list_mle": listwise.list_mle,
    "approx_ndcg": listwise.approx_ndcg,
    "approx_mrr": listwise.approx_mrr,
    "jrc": listwise.jrc,
}

NEEDS_ACROSS = frozenset({"f1_reweighted"})
"""Losses that need sums over the batch of all replicas, and take the function that makes them."""
