"""Loads a SavedModel and asks it: `python -m components.infra_validator.probe WORK_DIR`, started by `check.check_model`.

Reads `request.json` in WORK_DIR: the model's folder, and displays of serialised tf.Examples in base64. Leaves `found.json` there,
anew after each step, so that it says how far a process came that crashed.
"""

import base64
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.infra_validator.report import Check, latency
from schemas import interrupts, serving

if TYPE_CHECKING:
    import tensorflow as tf

REQUEST = "request.json"
FOUND = "found.json"

TOLERANCE = 1e-5
"""Largest difference of two probabilities of a click that are the same; the Trainer's bound on skew is as large."""

_TIMED_CALLS = 500
_NO_FEATURE = b""
"""A serialised tf.Example without any feature."""


def probe(model: str, displays: Sequence[Sequence[bytes]], found: dict[str, Any]) -> Iterator[None]:
    """Takes one step after the other; stops at the first one that fails.

    Args:
        model: Folder of a SavedModel.
        displays: Serialised raw tf.Examples (one an ad) of each display.
        found: Gets `doing`, what the next step does; `checks`, a `report.Check` as a dict for each one made; `latency_ms`.

    Yields:
        After each change of `found`.
    """
    import tensorflow as tf

    def note(name: str, sentence: str, passed: bool = True) -> None:
        found["checks"].append(asdict(Check(name, passed, sentence)))

    found |= {"doing": "loading the model", "checks": []}
    yield
    try:
        loaded = tf.saved_model.load(model)
    except Exception as error:
        note("load", f"The model cannot be loaded: {_one_line(error)}.", passed=False)
        return
    note("load", "The model loads in a fresh process.")
    try:
        serving.check_signatures(loaded.signatures)
    except ValueError as error:
        note("signatures", f"The signatures are not those of the contract: {error}.", passed=False)
        return
    note("signatures", f"The signatures {', '.join(s.name for s in serving.SIGNATURES)} are there, with the right types.")
    found["doing"] = "scoring"
    yield
    try:
        wrong = wrong_scores(loaded.signatures, displays)
    except Exception as error:
        wrong = f"The model cannot answer: {_one_line(error)}."
    if wrong:
        note("scores", wrong, passed=False)
        return
    rows = sum(map(len, displays))
    note("scores", f"{rows:,} ads of {len(displays):,} displays are scored alike in one request and display by display.")
    found["doing"] = "being timed"
    yield
    found["latency_ms"] = latency(list(_timed(loaded.signatures[serving.RANK_DISPLAY.name], displays)))


def wrong_scores(signatures: Any, displays: Sequence[Sequence[bytes]]) -> str | None:
    """Returns what is wrong with the model's answers, in a sentence; None if nothing is.

    Every score must be a number from 0 to 1, the same whether its display is asked alone or with all others, the same by both
    signatures, and the ranks must be those of the scores. An Example without any feature must get a score, too.
    """
    import tensorflow as tf

    score = signatures[serving.SERVING_DEFAULT.name]
    rank = signatures[serving.RANK_DISPLAY.name]
    together = score(tf.constant([e for display in displays for e in display] + [_NO_FEATURE]))[serving.SCORE].numpy()
    asked = [*displays, [_NO_FEATURE]]
    if together.shape != (sum(map(len, asked)),):
        return f"There must be one score for each ad. Received: shape {together.shape} for {sum(map(len, asked))} ads."
    parts = np.split(together, np.cumsum([len(display) for display in asked])[:-1])
    for number, (display, expected) in enumerate(zip(asked, parts, strict=True)):
        what = f"display {number + 1} of {len(displays)}" if number < len(displays) else "an Example without any feature"
        outside = expected[~((expected >= 0) & (expected <= 1))]
        if len(outside):
            return f"Every score must be a number from 0 to 1. Received: {outside[0]} for {what}."
        alone = rank(tf.constant(list(display)))
        for name, scores in (("alone", score(tf.constant(list(display)))), ("by the signature 'rank'", alone)):
            difference = np.abs(scores[serving.SCORE].numpy() - expected).max()
            if not difference <= TOLERANCE:
                return f"The scores of {what} differ by {difference:.2g} when it is asked {name}, more than {TOLERANCE:g}."
        order = np.argsort(-alone[serving.SCORE].numpy(), kind="stable")
        if alone[serving.RANK].numpy()[order].tolist() != list(range(1, len(display) + 1)):
            return f"The ranks of {what} are not those of its scores."
    return None


def _timed(function: "tf.types.experimental.ConcreteFunction", displays: Sequence[Sequence[bytes]]) -> Iterator[float]:
    """Yields the seconds of each call for one display; the model is warm, for it was asked all of them before."""
    import tensorflow as tf

    tensors = [tf.constant(list(display)) for display in displays]
    for call in range(_TIMED_CALLS):
        start = time.perf_counter()
        function(tensors[call % len(tensors)])[serving.RANK].numpy()
        yield time.perf_counter() - start


def _one_line(error: Exception) -> str:
    message = " ".join(str(getattr(error, "message", None) or error).split())
    return f"{type(error).__name__}: {message[:300]}".rstrip(". ")


def main(work_dir: Path) -> None:
    """Runs all steps; `found.json` is replaced as a whole after each."""
    interrupts.die_with_parent()
    # Where memory runs out, the system shall take this process and not the run.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    request = json.loads((work_dir / REQUEST).read_text())
    displays = [[base64.b64decode(example) for example in display] for display in request["displays"]]
    found: dict[str, Any] = {}

    def leave() -> None:
        aside = work_dir / f".{FOUND}"
        aside.write_text(json.dumps(found))
        os.replace(aside, work_dir / FOUND)

    for _ in probe(request["model"], displays, found):
        leave()
    found["doing"] = None
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
