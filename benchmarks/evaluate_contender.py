"""One contender of `benchmarks.evaluate`: python -m benchmarks.evaluate_contender KIND DATA OUT ROWS...

KIND is one of `CONTENDERS`, DATA a folder as `benchmarks.evaluate_rows` writes it, OUT a new folder for an evaluation, ROWS the
files that are read. Prints a line of JSON: CPU and wall seconds of the Beam pipeline, without those of starting the process, and
the process's peak memory. With `agree OURS THEIRS` it prints how far two evaluations are apart.
"""

import json
import logging
import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.api import model_eval_lib as tfma

from benchmarks.machine import cpu_seconds
from components.evaluator import vectorised
from components.evaluator.eval_config import eval_config
from components.evaluator.extractors import custom_extractors
from components.evaluator.job import evaluate, share_models
from components.evaluator.read import ReadExamples
from components.evaluator.results import read_evaluation
from schemas.beam import LOCAL_BEAM_RUNNER
from schemas.config import EvaluateConfig


class Task:
    """What all contenders are given."""

    def __init__(self, data: Path, out: Path, files: list[str]):
        self.out, self.files = str(out), files
        self.config, self.models = share_models(eval_config(EvaluateConfig()), str(data / "candidate"), str(data / "baseline"))

    @staticmethod
    def pipeline() -> beam.Pipeline:
        """Makes a pipeline as the Evaluator runs it by default."""
        return beam.Pipeline(argv=[f"--runner={LOCAL_BEAM_RUNNER}"])


def read(task: Task) -> None:
    """Reads and decodes the rows."""
    with task.pipeline() as pipeline:
        _ = pipeline | ReadExamples(task.files) | beam.Map(lambda batch: batch.num_rows)


def score(task: Task) -> None:
    """Reads the rows, and lets both models score them."""
    with task.pipeline() as pipeline:
        extracts = pipeline | ReadExamples(task.files) | tfma.BatchedInputsToExtracts()
        for number, extractor in enumerate(vectorised.extractors(task.config, task.models)):
            extracts = extracts | str(number) >> extractor.ptransform
        _ = extracts | beam.Map(len)


def ours(task: Task) -> None:
    """All that the Evaluator does."""
    evaluate(task.pipeline, task.files, task.config, task.models, task.out, f"{task.out}/work")


def by_tfma(task: Task) -> None:
    """TFMA's own evaluator with our metrics as TFMA classes; it has the slices by columns of the rows, and no table of displays."""
    with task.pipeline() as pipeline:
        _ = (
            pipeline
            | ReadExamples(task.files)
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=task.models,
                eval_config=task.config,
                extractors=custom_extractors(task.models, task.config, None),
                output_path=task.out,
            )
        )


CONTENDERS: dict[str, Callable[[Task], None]] = {"read": read, "score": score, "clickrank": ours, "tfma": by_tfma}


def run(kind: str, data: Path, out: Path, files: list[str]) -> dict[str, Any]:
    """Runs a contender once and says what that took."""
    task = Task(data, out, files)
    cpu, wall = cpu_seconds(), time.perf_counter()
    CONTENDERS[kind](task)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"cpu_s": cpu_seconds() - cpu, "wall_s": time.perf_counter() - wall, "peak_rss_mb": peak}


def agree(mine: Path, theirs: Path) -> dict[str, Any]:
    """Returns the largest difference of any metric of any slice and model that the second evaluation has, and how many there are.

    A difference is relative where values are above 1. A metric that is a number in one alone is infinitely far off.
    """
    one, other = read_evaluation(mine), read_evaluation(theirs)
    largest, numbers = 0.0, 0
    for side in ("candidate", "baseline"):
        for key, metrics in (getattr(other, side) or {}).items():
            for name, value in metrics.items():
                got = getattr(one, side)[key][name]
                numbers += 1
                if not (math.isnan(got) and math.isnan(value)):
                    difference = abs(got - value) / max(1.0, abs(value))
                    largest = max(largest, math.inf if math.isnan(difference) else difference)
    return {"largest_difference": largest, "numbers": numbers}


def main() -> None:
    """See the module."""
    logging.disable(logging.WARNING)
    kind, *arguments = sys.argv[1:]
    paths = [Path(argument) for argument in arguments]
    result = agree(*paths) if kind == "agree" else run(kind, paths[0], paths[1], arguments[2:])
    print(json.dumps(result), flush=True)  # noqa: T201


if __name__ == "__main__":
    from benchmarks import evaluate_contender  # under its own name, so that workers in other processes find the functions

    evaluate_contender.main()
