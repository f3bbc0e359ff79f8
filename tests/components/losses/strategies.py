"""What the property tests draw."""

import numpy as np
from hypothesis import strategies as st

from schemas.losses import LOSSES

NAMES = [loss.name for loss in LOSSES]
OF_LISTS = [loss.name for loss in LOSSES if loss.unit != "row"]

scores = st.floats(-4, 4, width=32)
rows = st.tuples(st.sampled_from([0, 1]), scores, st.sampled_from([0.5, 1.0, 2.0]))
displays = st.lists(st.lists(rows, min_size=1, max_size=5), min_size=1, max_size=4)
"""Displays as lists of (label, score, weight)."""


def padded(displays, size=None, fill=0.0):
    """Displays as arguments of a loss of lists: labels, scores, mask, weights of (displays, size); `fill` is in the padding."""
    size = size or max(map(len, displays))
    arrays = np.full((3, len(displays), size), fill, np.float32)
    mask = np.zeros((len(displays), size), bool)
    for d, display in enumerate(displays):
        for i, row in enumerate(display):
            arrays[:, d, i] = row
            mask[d, i] = True
    return {"labels": arrays[0], "scores": arrays[1], "weights": arrays[2], "mask": mask}


def flat(displays):
    """Displays as the arguments of `LossMix`: labels, logits, weights, display of (rows,)."""
    table = np.array([row for display in displays for row in display], np.float32).reshape(-1, 3)
    index = np.repeat(np.arange(len(displays)), [len(display) for display in displays]).astype(np.int32)
    return *table.T.copy(), index
