"""The table of losses: the one definition of their names, units and parameters.

The configuration takes a loss by its name here, `components/trainer/losses/` computes it, and docs/losses.md has the formulas. To
add a loss, see CONTRIBUTING.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Unit = Literal["row", "pair", "display"]


@dataclass(frozen=True, slots=True)
class Loss:
    """One loss.

    Attributes:
        name: What the configuration calls it.
        unit: What it is computed on: one `row`, a `pair` of rows of one display, or a whole `display`.
        parameters: Name -> default. None: the loss does without unless it is given.
        about: What it is good for, for people.
        is_negative: Whether its values are at most 0. Learned weights would grow without end on such a loss.
        is_square: Whether it is a squared error. Under learned weights, it counts half.
    """

    name: str
    unit: Unit
    parameters: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))
    about: str = ""
    is_negative: bool = False
    is_square: bool = False


def _loss(
    name: str, unit: Unit, about: str, *, is_negative: bool = False, is_square: bool = False, **parameters: float | None
) -> Loss:
    return Loss(name, unit, MappingProxyType(parameters), about, is_negative, is_square)


LOSSES: tuple[Loss, ...] = (
    _loss("sigmoid_cross_entropy", "row", "the default: scores are probabilities of a click"),
    _loss("softmax_cross_entropy", "row", "two classes with logits (0, s): the same value as sigmoid_cross_entropy"),
    _loss("l2", "row", "the score itself, not its sigmoid, estimates the label", is_square=True),
    _loss("sigmoid_l2", "row", "Brier score: probabilities, and outliers cost at most 1", is_square=True),
    _loss(
        "f1_reweighted", "row", "beta_square above 1 for recall, below for precision; 1 is sigmoid_cross_entropy", beta_square=1.0
    ),
    _loss("focal", "row", "rows that are easy count little; alpha is the weight of the clicked ones", gamma=2.0, alpha=None),
    _loss("pairwise_logistic", "pair", "RankNet, BPR: the clicked ad above each other one", temperature=1.0, margin=0.0),
    _loss("pairwise_hinge", "pair", "pairs that are right by the margin cost nothing", margin=1.0),
    _loss("softmax", "display", "which ad of the display was clicked; the usual choice for ranking", temperature=1.0),
    _loss(
        "calibrated_softmax",
        "display",
        "softmax with one more item, of score 0; a virtual_label above 0 keeps scores from drifting",
        virtual_label=0.0,
        temperature=1.0,
    ),
    _loss("unique_softmax", "display", "several levels of labels: each item against the lower ones", temperature=1.0),
    _loss("list_mle", "display", "the whole order by label, not only its top", temperature=1.0),
    _loss("approx_ndcg", "display", "smooth NDCG, at most 0", temperature=0.1, is_negative=True),
    _loss(
        "approx_mrr", "display", "smooth MRR, at most 0; with one click a display, MRR is MAP", temperature=0.1, is_negative=True
    ),
    _loss(
        "jrc", "display", "ranking and probabilities at once; alpha is the share of the cross-entropy", alpha=0.5, temperature=1.0
    ),
)


def find_loss(name: str) -> Loss:
    """Returns the row of that name.

    Raises:
        ValueError: There is no such loss; names them all.
    """
    for loss in LOSSES:
        if loss.name == name:
            return loss
    raise ValueError(f"no such loss; there are {', '.join(loss.name for loss in LOSSES)}. Received: {name!r}")
