"""What an evaluation costs: the Evaluator's, by columns, beside TFMA's own, by rows; and that both come to the same numbers.

Every contender has a process of its own, one after the other. This one imports nothing large.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import machine
from benchmarks.processes import BenchmarkError, Contender, run

ROWS = 1_000_000
TFMA_ROWS = 50_000
"""TFMA's own evaluation takes so long that some of the rows are enough."""
LEAST_DISPLAYS = 300
"""Of the synthetic log: with fewer, too few are labelled."""
TOLERANCE = 1e-9
READ, SCORE, OURS, TFMA, OURS_ON_PART = "read", "read and score", "clickrank", "tfma", "clickrank, part"
_KINDS = {READ: "read", SCORE: "score", OURS: "clickrank", TFMA: "tfma", OURS_ON_PART: "clickrank"}


class Measured(NamedTuple):
    """What one contender took.

    Attributes:
        contender: What was done.
        rows: On how many rows.
        cpu_s: User and system CPU seconds of all threads, without those of starting the process.
        wall_s: By the clock.
        cpu_us_per_row: CPU microseconds a row.
        peak_rss_mb: Peak resident memory, 10^6 bytes.
    """

    contender: str
    rows: int
    cpu_s: float
    wall_s: float
    cpu_us_per_row: float
    peak_rss_mb: int


def measure(rows: int = ROWS, tfma_rows: int = TFMA_ROWS, done: Callable[[Measured], None] = lambda _: None) -> dict[str, Any]:
    """Measures all contenders, each with two models of the default size.

    Args:
        rows: Rows of the eval split.
        tfma_rows: Rows on which TFMA's own evaluation is measured and both are compared.
        done: Is told each result as it comes.

    Returns:
        `cpu_s` of the whole evaluation of `rows` rows; of it `read_cpu_s`, `forward_cpu_s` of both models, and `judge_cpu_s`, all
        that is left; `tfma_cpu_s`, scaled from `tfma_rows` to `rows`; `largest_difference` of `numbers` metrics; `machine`;
        `results`.

    Raises:
        BenchmarkError: A contender failed, or the numbers differ by more than `TOLERANCE`.
    """
    with tempfile.TemporaryDirectory(prefix="clickrank-bench-") as name:
        folder = Path(name)
        part = min(tfma_rows, rows)
        displays = str(max(LEAST_DISPLAYS, part // 3))
        run("pipeline.cli", "synth", str(folder / "log"), "--displays", displays, "--page-views", str(20 * int(displays)))
        run("benchmarks.evaluate_rows", str(folder / "log"), str(folder / "data"), str(part), str(rows - part))
        files = sorted((folder / "data").glob("rows-*.gz"))
        results = {}
        for number, (contender, kind) in enumerate(_KINDS.items()):
            of_part = contender in (TFMA, OURS_ON_PART)
            chosen = [str(file) for file in (files[:1] if of_part else files)]
            took = _contender(kind, str(folder / "data"), str(folder / str(number)), *chosen)
            results[contender] = _measured(contender, part if of_part else rows, took)
            done(results[contender])
        numbers = list(_KINDS)
        found = _contender("agree", *(str(folder / str(numbers.index(name))) for name in (OURS_ON_PART, TFMA)))
    if not found["largest_difference"] <= TOLERANCE:
        raise BenchmarkError(f"clickrank and TFMA differ by {found['largest_difference']:.3g}, more than {TOLERANCE}")
    cpu = {name: result.cpu_s for name, result in results.items()}
    return {
        "cpu_s": cpu[OURS],
        "read_cpu_s": cpu[READ],
        "forward_cpu_s": round(cpu[SCORE] - cpu[READ], 2),
        "judge_cpu_s": round(cpu[OURS] - cpu[SCORE], 2),
        "tfma_cpu_s": round(results[TFMA].cpu_us_per_row * rows / 1e6, 2),
        **found,
        "machine": machine(),
        "results": [result._asdict() for result in results.values()],
    }


def table(results: Sequence[Measured]) -> str:
    """Renders results for a screen."""
    lines = [f"{'contender':<18} {'rows':>10} {'CPU s':>8} {'wall s':>8} {'CPU us/row':>11} {'peak MB':>8}"]
    lines += [
        f"{r.contender:<18} {r.rows:>10,} {r.cpu_s:>8.1f} {r.wall_s:>8.1f} {r.cpu_us_per_row:>11.1f} {r.peak_rss_mb:>8,.0f}"
        for r in results
    ]
    return "\n".join(lines)


def summary(outcome: dict[str, Any]) -> str:
    """Renders what `measure` returned."""
    results = [Measured(**result) for result in outcome["results"]]
    rows, on = next(r.rows for r in results if r.contender == OURS), outcome["machine"]
    return (
        f"{table(results)}\n"
        f"{rows:,} rows, two models: {outcome['cpu_s']:.1f} CPU s, of which reading {outcome['read_cpu_s']:.1f}, the models "
        f"{outcome['forward_cpu_s']:.1f}, judging {outcome['judge_cpu_s']:.1f}; TFMA's own, scaled from fewer rows, "
        f"{outcome['tfma_cpu_s']:.1f}.\n"
        f"Largest difference of {outcome['numbers']:,} metrics {outcome['largest_difference']:.2g}. "
        f"{on['cores']} cores, load {on['load']}."
    )


def _measured(contender: str, rows: int, took: dict[str, Any]) -> Measured:
    cpu, wall = took["cpu_s"], took["wall_s"]
    return Measured(contender, rows, round(cpu, 2), round(wall, 2), round(cpu / rows * 1e6, 2), round(took["peak_rss_mb"]))


def _contender(*arguments: str) -> dict[str, Any]:
    """Returns what `benchmarks.evaluate_contender` says."""
    with Contender([sys.executable, "-m", "benchmarks.evaluate_contender", *arguments]) as contender:
        return contender.listen()
