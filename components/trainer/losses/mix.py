"""The objective of training: several losses as one number, with fixed or learned weights, on any number of replicas."""

from collections.abc import Callable, Sequence
from typing import Literal

import tensorflow as tf

from components.trainer.losses import FUNCTIONS, NEEDS_ACROSS
from components.trainer.losses.contract import LossSum
from components.trainer.losses.lists import to_lists
from schemas.config import LossConfig
from schemas.losses import find_loss


class LossMix(tf.Module):
    """sum_k weight_k L_k, where L_k is loss k's mean over the global batch.

    With `loss_weights="uncertainty"` a term is weight_k (e^{-u_k} L_k + u_k / 2), or e^{-u_k} L_k / 2 for squared errors, and the
    u_k are learned with the model: the homoscedastic uncertainty of Kendall et al. 2018 (arXiv:1705.07115). They start at 0,
    and are the module's `trainable_variables`, one scalar a loss; with fixed weights there are none. To be made within the
    strategy's scope.
    """

    def __init__(self, losses: Sequence[LossConfig], loss_weights: Literal["fixed", "uncertainty"] = "fixed"):
        super().__init__(name="loss_mix")
        self._losses = tuple(losses)
        self._uncertainties = (
            [tf.Variable(0.0, name=f"uncertainty_{loss.name}") for loss in losses] if loss_weights == "uncertainty" else []
        )

    @property
    def needs_displays(self) -> bool:
        """Whether a display's rows must all be in one replica's batch, and `display` be given."""
        return needs_displays(self._losses)

    def __call__(
        self,
        labels: tf.Tensor,
        logits: tf.Tensor,
        weights: tf.Tensor,
        display: tf.Tensor | None = None,
        *,
        across: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
        replicas: int = 1,
    ) -> tf.Tensor:
        """Returns this replica's share of the objective, float32 ().

        The sum of the shares over the replicas is the objective of the global batch, and so is the sum of their gradients.

        Args:
            labels: (rows,), this replica's rows.
            logits: (rows,).
            weights: (rows,), 0 for padding.
            display: int (rows,), see `to_lists`; only if `needs_displays`.
            across: Sums a tensor over the replicas. It is only given constants, as often on every replica.
            replicas: How many there are.

        Raises:
            ValueError: `display` is needed and was not given.
        """
        sums = self._sums(labels, logits, weights, display, across)
        counts = tf.unstack(across(tf.stack([of_loss.count for of_loss in sums])))
        means = [tf.math.divide_no_nan(of_loss.total, count) for of_loss, count in zip(sums, counts, strict=True)]
        if self._uncertainties:
            means = [self._term(*term, replicas) for term in zip(self._losses, means, self._uncertainties, strict=True)]
        return tf.add_n([loss.weight * mean for loss, mean in zip(self._losses, means, strict=True)])

    def _sums(
        self,
        labels: tf.Tensor,
        logits: tf.Tensor,
        weights: tf.Tensor,
        display: tf.Tensor | None,
        across: Callable[[tf.Tensor], tf.Tensor],
    ) -> list[LossSum]:
        rows = {"labels": labels, "scores": logits, "weights": weights}
        lists: dict[str, tf.Tensor] = {}
        if self.needs_displays:
            if display is None:
                names = [loss.name for loss in self._losses if find_loss(loss.name).unit != "row"]
                raise ValueError(f"display must be given: {', '.join(names)} compare rows of one display. Received: None")
            lists = to_lists(labels, logits, weights, display)._asdict()
        sums = []
        for loss in self._losses:
            items = rows if find_loss(loss.name).unit == "row" else lists
            extra = {"across": across} if loss.name in NEEDS_ACROSS else {}
            sums.append(FUNCTIONS[loss.name](**items, **loss.parameters, **extra))
        return sums

    @staticmethod
    def _term(loss: LossConfig, share: tf.Tensor, uncertainty: tf.Variable, replicas: int) -> tf.Tensor:
        factor = 0.5 if find_loss(loss.name).is_square else 1.0
        # The second summand is no sum over rows: each replica has its part of it.
        return factor * tf.exp(-uncertainty) * share + uncertainty / (2.0 * replicas)


def needs_displays(losses: Sequence[LossConfig]) -> bool:
    """Whether any of the losses compares the rows of a display, which must then all be in one replica's batch."""
    return any(find_loss(loss.name).unit != "row" for loss in losses)
