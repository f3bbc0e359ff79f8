"""The losses once more: from their definitions, in plain Python, a display and an item at a time.

`of_displays(name, displays, **parameters)` takes displays as lists of (label, score, weight) and returns (total, count).
"""

import math


def sigmoid(s):
    return 1 / (1 + math.exp(-s)) if s > -700 else 0.0


def cross_entropy(y, s):
    return max(s, 0) - s * y + math.log1p(math.exp(-abs(s)))


def log_sum(scores):
    top = max(scores)
    return top + math.log(sum(math.exp(s - top) for s in scores))


def focal(y, s, gamma, alpha):
    of_positive, of_negative = (1, 1) if alpha is None else (alpha, 1 - alpha)
    p = sigmoid(s)
    return -y * of_positive * (1 - p) ** gamma * math.log(p) - (1 - y) * of_negative * p**gamma * math.log(1 - p)


ROWS = {
    "sigmoid_cross_entropy": cross_entropy,
    "softmax_cross_entropy": lambda y, s: -y * (s - log_sum([0, s])) - (1 - y) * (0 - log_sum([0, s])),
    "l2": lambda y, s: (y - s) ** 2,
    "sigmoid_l2": lambda y, s: (y - sigmoid(s)) ** 2,
    "focal": focal,
}

PAIRS = {
    "pairwise_logistic": lambda gap, temperature, margin: math.log1p(math.exp(-(gap / temperature - margin))),
    "pairwise_hinge": lambda gap, margin: max(0, margin - gap),
}


def softmax(ys, ss, temperature):
    ss = [s / temperature for s in ss]
    return -sum(y * (s - log_sum(ss)) for y, s in zip(ys, ss, strict=True))


def calibrated_softmax(ys, ss, virtual_label, temperature):
    ss = [s / temperature for s in ss]
    of_items = -sum(y * (s - log_sum([*ss, 0])) for y, s in zip(ys, ss, strict=True))
    return of_items + virtual_label * log_sum([*ss, 0])


def unique_softmax(ys, ss, temperature):
    ss = [s / temperature for s in ss]
    total = 0
    for i, (y, s) in enumerate(zip(ys, ss, strict=True)):
        total -= (2**y - 1) * (s - log_sum([s] + [ss[j] for j in range(len(ys)) if j != i and ys[j] < y]))
    return total


def list_mle(ys, ss, temperature):
    ss = [s / temperature for s in ss]
    return -sum(s - log_sum([other for z, other in zip(ys, ss, strict=True) if z <= y]) for y, s in zip(ys, ss, strict=True))


def ranks(ss, temperature):
    return [1 + sum(sigmoid((ss[j] - s) / temperature) for j in range(len(ss)) if j != i) for i, s in enumerate(ss)]


def dcg(ys, at):
    return sum((2**y - 1) / math.log2(1 + r) for y, r in zip(ys, at, strict=True))


def approx_ndcg(ys, ss, temperature):
    return -dcg(ys, ranks(ss, temperature)) / dcg(sorted(ys, reverse=True), range(1, len(ys) + 1))


def approx_mrr(ys, ss, temperature):
    return -sum(y / r for y, r in zip(ys, ranks(ss, temperature), strict=True)) / sum(ys)


DISPLAYS = {f.__name__: f for f in (softmax, calibrated_softmax, unique_softmax, list_mle, approx_ndcg, approx_mrr)}


def f1_reweighted(rows, beta_square):
    positives = sum(w * y for y, _, w in rows)
    expected = sum(w * sigmoid(s) for _, s, w in rows)
    below = beta_square * positives + expected - positives + 1e-8
    of_negative = min(max(expected / below, 0), 100)
    return sum(w * (1 if y else of_negative) * cross_entropy(y, s) for y, s, w in rows), sum(w for _, _, w in rows)


def jrc(display, alpha, temperature):
    total = 0
    for y, s, w in display:
        sign = 1 if y else -1  # the logit of the row's class is sign * s / 2
        share = math.exp(sign * s / 2 / temperature) / sum(math.exp(sign * t / 2 / temperature) for _, t, _ in display)
        total += w * (alpha * cross_entropy(y, s) - (1 - alpha) * math.log(share))
    return total, sum(w for _, _, w in display)


def of_displays(name, displays, **parameters):
    rows = [row for display in displays for row in display]
    if name == "f1_reweighted":
        return f1_reweighted(rows, **parameters)
    if name in ROWS:
        parts = [(w * ROWS[name](y, s, **parameters), w) for y, s, w in rows]
    elif name in PAIRS:
        parts = [
            (w * PAIRS[name](s - t, **parameters), w) for display in displays for y, s, w in display for z, t, _ in display if y > z
        ]
    elif name == "jrc":
        parts = [jrc(display, **parameters) for display in displays]
    else:
        parts = []
        for display in displays:
            ys, ss, ws = zip(*display, strict=True) if display else ((), (), ())
            if sum(ys) > 0:
                weight = sum(y * w for y, w in zip(ys, ws, strict=True)) / sum(ys)
                parts.append((weight * DISPLAYS[name](ys, ss, **parameters), weight))
    return sum(total for total, _ in parts), sum(count for _, count in parts)
