"""What a step of training costs, forward, backward and optimizers: the Trainer's beside tf_keras' and PyTorch's.

Every contender of a batch size has a process of its own, and all of them stay while rounds alternate between them, so that what
else the machine does hits all alike. The median of the rounds counts.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.processes import BenchmarkError, Contender
from schemas.config import ModelConfig
from schemas.features import model_inputs
from schemas.records import LABEL

BATCHES = (4096, 16384)
ROUNDS, STEPS = 5, 2
OURS, KERAS, TORCH, PEAK = "clickrank", "tf_keras", "torch", "matmul"
SMALL_UNITS = (32,)
GROWTH_BATCH, GROWTH_STEPS = 4096, 10
TORCH_PYTHONS = ("/usr/bin/python3", "python3")
HOW_TO_INSTALL = "not installed: no python3 here has torch; on Debian, apt-get install python3-torch libopenblas0-pthread"


@dataclass(frozen=True)
class Case:
    """One contender.

    Attributes:
        name: For people.
        kind: clickrank, tf_keras, torch or matmul.
        batch: Rows of a step.
        units: Hidden layers.
        bucket_divisor: What every number of hash buckets is divided by.
        deep_optimizer: adagrad or adam.
        precision: Of hidden layers; clickrank only.
        jit_compile: XLA; clickrank only.
    """

    name: str
    kind: str
    batch: int
    units: tuple[int, ...] = ModelConfig().hidden_units
    bucket_divisor: int = 1
    deep_optimizer: str = "adagrad"
    precision: str = "float32"
    jit_compile: bool = False

    @property
    def flop_per_sample(self) -> int:
        """Floating-point operations of the hidden layers' matrix products: one forward, two backward; a multiply-add is two."""
        width = sum(f.embedding_dim or f.buckets or 1 for f in model_inputs() if f.deep)
        sizes = (width, *self.units, 1)
        return 6 * sum(a * b for a, b in pairwise(sizes))


def cases(batch: int, units: Sequence[int] = ModelConfig().hidden_units) -> list[Case]:
    """Returns the contenders of one batch size."""
    sizes = tuple(units)
    return [
        Case(OURS, OURS, batch, sizes),
        Case(KERAS, KERAS, batch, sizes),
        Case(TORCH, TORCH, batch, sizes),
        Case(f"{OURS}, XLA", OURS, batch, sizes, jit_compile=True),
        Case(f"{OURS}, bfloat16", OURS, batch, sizes, precision="bfloat16"),
        Case(PEAK, PEAK, batch, sizes),
    ]


def growth_cases(batch: int = GROWTH_BATCH) -> list[Case]:
    """Returns what shows whether a step takes longer where there are ten times the buckets; hardly any hidden layers."""
    return [
        Case(f"{kind}, {optimizer}, buckets{'' if divisor == 1 else f' / {divisor}'}", kind, batch, SMALL_UNITS, divisor, optimizer)
        for optimizer in ("adagrad", "adam")
        for kind in (OURS, KERAS)
        for divisor in (10, 1)
    ]


def measure(
    batches: Sequence[int] = BATCHES,
    rounds: int = ROUNDS,
    units: Sequence[int] = ModelConfig().hidden_units,
    done: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Measures all contenders at each batch size, then how steps grow with the buckets.

    Returns:
        `samples_per_second`, `share_of_peak` and `ratio_to_fastest_peer` of the plain Trainer's step at the first batch size;
        `machine`; `results`, a dict for each case. Ratios and shares are by the CPU second on a CPU, by the clock on a GPU.

    Raises:
        BenchmarkError: A contender failed.
    """
    results = []
    for group in [*(cases(batch, units) for batch in batches), growth_cases(min(GROWTH_BATCH, *batches))]:
        steps = GROWTH_STEPS if group[0].units == SMALL_UNITS else STEPS
        for result in _compare(group, rounds, steps):
            done(result)
            results.append(result)
    first = [r for r in results if r["batch"] == batches[0] and r["bucket_divisor"] == 1 and tuple(r["units"]) == tuple(units)]
    ours = next(r for r in first if r["name"] == OURS)
    return {
        **{key: ours[key] for key in ("samples_per_second", "share_of_peak", "ratio_to_fastest_peer")},
        "machine": machine(),
        "results": results,
    }


def find_torch() -> str | None:
    """Returns an interpreter that has torch and numpy, or None."""
    for python in filter(None, map(shutil.which, TORCH_PYTHONS)):
        if not subprocess.run([python, "-c", "import torch, numpy"], capture_output=True, check=False).returncode:
            return python
    return None


def table(results: Sequence[dict[str, Any]]) -> str:
    """Renders results for a screen."""
    heads = (
        ("batch", 7),
        ("ms/step", 10),
        ("samples/s", 11),
        ("per CPU s", 11),
        ("GFLOP/CPU s", 13),
        ("of peak", 9),
        ("of peer", 9),
    )
    lines = [f"{'contender':<34}" + "".join(f"{head:>{width}}" for head, width in heads)]
    for r in results:
        if "missing" in r:
            lines.append(f"{r['name']:<34}{r['batch']:>7}  {r['missing']}")
            continue
        lines.append(
            f"{r['name']:<34}{r['batch']:>7}{r['ms_per_step']:>10,.1f}{r['samples_per_second']:>11,.0f}"
            f"{r['samples_per_cpu_second']:>11,.0f}{r['gflop_per_cpu_second']:>13,.1f}"
            + "".join(f"{'' if r[key] is None else f'{r[key]:.2f}':>9}" for key in ("share_of_peak", "ratio_to_fastest_peer"))
        )
    return "\n".join(lines)


def summary(outcome: dict[str, Any]) -> str:
    """Renders what `measure` returned."""
    on, results = outcome["machine"], outcome["results"]
    flop = Case(OURS, OURS, 1, tuple(results[0]["units"])).flop_per_sample
    device = next(r["device"] for r in results if "device" in r)
    return f"{table(results)}\n{flop / 1e6:.1f} MFLOP a sample. Device {device}, {on['cores']} cores, load {on['load']}."


def _compare(group: Sequence[Case], rounds: int, steps: int) -> list[dict[str, Any]]:
    """Runs the cases in turn, round after round."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clickrank-bench-")))
        started = [_start(case, folder / str(i), stack) for i, case in enumerate(group)]
        times: list[list[dict[str, Any]]] = [[] for _ in group]
        for _ in range(rounds):
            for own, contender in zip(times, started, strict=True):
                if contender:
                    own.append(contender[0].ask(str(steps)))
    measured = [_result(c, s and s[1], t, steps) for c, s, t in zip(group, started, times, strict=True)]
    _relate(measured)
    return measured


def _start(case: Case, folder: Path, stack: ExitStack) -> tuple[Contender, dict[str, Any]] | None:
    """Starts a contender and waits until it is warm; None where there is no PyTorch."""
    folder.mkdir()
    spec = folder / "spec.json"
    spec.write_text(json.dumps(asdict(case)))
    command = [sys.executable, "-m", "benchmarks.step_contender", str(spec)]
    if case.kind == TORCH:
        python = find_torch()
        if python is None:
            return None
        command = [python, str(Path(__file__).with_name("step_torch.py")), *_for_torch(case, folder), str(machine()["cores"])]
    contender = stack.enter_context(Contender(command))
    return contender, contender.listen()


def _for_torch(case: Case, folder: Path) -> tuple[str, str]:
    """Writes what `benchmarks.step_torch` reads: the same rows, and the model's sizes."""
    import numpy as np

    from benchmarks.model_rows import random_columns

    features = model_inputs()
    columns = random_columns(features, case.batch)
    matrices: dict[str, Any] = {name: values.reshape(case.batch, -1) for name, values in columns.items()}
    np.savez(folder / "columns.npz", **matrices)
    about = [{"name": f.name, "buckets": f.buckets, "embedding_dim": f.embedding_dim} for f in features]
    spec = folder / "torch.json"
    spec.write_text(json.dumps({"features": about, "units": case.units, "label": LABEL}))
    return str(folder / "columns.npz"), str(spec)


def _result(case: Case, about: dict[str, Any] | None, times: Sequence[dict[str, Any]], steps: int) -> dict[str, Any]:
    result: dict[str, Any] = asdict(case)
    if about is None:
        return result | {"missing": HOW_TO_INSTALL}
    wall, cpu = (statistics.median(t[key] for t in times) / steps for key in ("wall_s", "cpu_s"))
    if case.kind == PEAK:
        # The best and not the median: what the machine can do.
        wall, cpu = (min(t[key] for t in times) / steps for key in ("wall_s", "cpu_s"))
    flop = times[0]["loss"] if case.kind == PEAK else case.batch * case.flop_per_sample
    samples = flop / case.flop_per_sample
    if not wall > 0:
        raise BenchmarkError(f"{case.name}: a step took no time")
    cpu = max(cpu, 1e-9)
    return (
        result
        | about
        | {
            "ms_per_step": round(wall * 1e3, 3),
            "samples_per_second": round(samples / wall, 1),
            "samples_per_cpu_second": round(samples / cpu, 1),
            "gflop_per_second": round(flop / wall / 1e9, 3),
            "gflop_per_cpu_second": round(flop / cpu / 1e9, 3),
            "share_of_peak": None,
            "ratio_to_fastest_peer": None,
        }
    )


def _relate(results: Sequence[dict[str, Any]]) -> None:
    """Adds the share of the machine's peak, and the ratio to the fastest peer, to the results of one batch size."""
    there = [r for r in results if "missing" not in r]
    peak = next((r for r in there if r["kind"] == PEAK), None)
    if peak is None:
        return
    by = "samples_per_cpu_second" if peak["device"] == "cpu" else "samples_per_second"
    fastest = max(r[by] for r in there if r["kind"] in (KERAS, TORCH))
    for r in there:
        r["share_of_peak"] = round(r[by] / peak[by], 4)
        if r["kind"] == OURS:
            r["ratio_to_fastest_peer"] = round(r[by] / fastest, 4)
