"""How fast training rows come from the page cache: the Trainer's records beside tf.Examples, prebatched and plain.

Every contender has a process of its own, and one runs at a time.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.machine import copy_bandwidth, machine
from benchmarks.processes import Contender

OURS = "records-16384-shuffled"
PREBATCHED = "prebatched-examples-16384-shuffled"
CONTENDERS = (
    OURS,
    "records-16384",
    "records-16384-shuffled-columns",
    "records-16384-shuffled-displays",
    "records-4096-shuffled",
    "records-4096",
    "records-4096-shuffled-displays",
    "records-512-shuffled",
    PREBATCHED,
    "prebatched-examples-4096-shuffled",
    "plain-examples-16384",
    "plain-examples-4096",
)
ROWS = 4_000_000
PLAIN_SHARE, PLAIN_AT_LEAST = 16, 50_000
"""Plain Examples are so slow that a part of the rows is enough."""
ROUNDS = 3


class Measured(NamedTuple):
    """What one contender did in its fastest epoch.

    Attributes:
        contender: Format, batch size, and what was done.
        rows: Rows of the epoch.
        steps: Batches of the epoch.
        rows_per_second: By the clock.
        rows_per_cpu_second: By user and system CPU seconds of all threads: what a busy machine hardly changes.
        cpu_ms_per_step: CPU milliseconds a batch.
        bytes_per_row: On disk.
        mb_per_second: Of what is on disk, 10^6 bytes, by the clock.
        copies: Bytes read a CPU second, as a share of the machine's memory-copy bandwidth.
    """

    contender: str
    rows: int
    steps: int
    rows_per_second: float
    rows_per_cpu_second: float
    cpu_ms_per_step: float
    bytes_per_row: float
    mb_per_second: float
    copies: float


def measure(
    rows: int = ROWS,
    contenders: Sequence[str] | None = None,
    rounds: int = ROUNDS,
    done: Callable[[Measured], None] = lambda _: None,
) -> dict[str, Any]:
    """Measures each contender on about `rows` rows of all model inputs.

    Args:
        rows: Rows of an epoch; plain Examples have a part of them.
        contenders: Names, all of `CONTENDERS` unless given; `OURS` and `PREBATCHED` are needed for the ratio.
        rounds: Timed epochs; the fastest counts.
        done: Is told each result as it comes.

    Returns:
        `rows_per_second` of `OURS`, by the clock; `ratio_to_prebatched_examples` by rows a CPU second, and `wall_ratio...` by the
        clock; `copy_bytes_per_second`; `machine`; `results`, all rows.

    Raises:
        BenchmarkError: A contender failed.
    """
    bandwidth = copy_bandwidth()
    results: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="clickrank-bench-") as folder:
        for name in contenders or CONTENDERS:
            count = max(rows // PLAIN_SHARE, min(rows, PLAIN_AT_LEAST)) if name.startswith("plain") else rows
            command = [sys.executable, "-m", "benchmarks.input_contender", name, os.path.join(folder, name), str(count)]
            with Contender(command) as contender:
                answers = [contender.ask("epoch") for _ in range(rounds)]
            results[name] = result = _result(name, answers, bandwidth)
            done(result)
    ours, theirs = results[OURS], results[PREBATCHED]
    return {
        "rows_per_second": ours.rows_per_second,
        "ratio_to_prebatched_examples": round(ours.rows_per_cpu_second / theirs.rows_per_cpu_second, 3),
        "wall_ratio_to_prebatched_examples": round(ours.rows_per_second / theirs.rows_per_second, 3),
        "copy_bytes_per_second": round(bandwidth),
        "machine": machine(),
        "results": [result._asdict() for result in results.values()],
    }


def table(results: Sequence[Measured]) -> str:
    """Renders results for a screen."""
    lines = [f"{'contender':<36}{'rows/s':>12}{'rows/CPU s':>12}{'CPU ms/step':>12}{'bytes/row':>10}{'MB/s':>8}{'of memcpy':>10}"]
    lines += [
        f"{r.contender:<36}{r.rows_per_second:>12,.0f}{r.rows_per_cpu_second:>12,.0f}{r.cpu_ms_per_step:>12.2f}"
        f"{r.bytes_per_row:>10.0f}{r.mb_per_second:>8,.0f}{r.copies:>10.1%}"
        for r in results
    ]
    return "\n".join(lines)


def summary(outcome: dict[str, Any]) -> str:
    """Renders what `measure` returned."""
    on = outcome["machine"]
    return (
        f"{table([Measured(**result) for result in outcome['results']])}\n"
        f"{OURS} reads {outcome['ratio_to_prebatched_examples']:.2f} times the rows of {PREBATCHED} a CPU second "
        f"({outcome['wall_ratio_to_prebatched_examples']:.2f} by the clock).\n"
        f"np.copyto: {outcome['copy_bytes_per_second'] / 1e9:.1f} GB a CPU second. {on['cores']} cores, load {on['load']}."
    )


def _result(name: str, answers: Sequence[dict[str, Any]], bandwidth: float) -> Measured:
    wall = min(answer["wall_s"] for answer in answers)
    cpu = max(1e-6, min(answer["cpu_s"] for answer in answers))
    rows, steps, size = answers[0]["rows"], answers[0]["steps"], answers[0]["bytes"]
    return Measured(
        name,
        rows,
        steps,
        round(rows / wall),
        round(rows / cpu),
        round(cpu / steps * 1e3, 3),
        round(size / rows, 1),
        round(size / wall / 1e6, 1),
        round(size / cpu / bandwidth, 4),
    )
