"""All checks of a model, in order. The model is loaded in a process of its own: its crash, hang or hunger is a failed check."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.infra_validator.ops import read_saved_model, refused_operations
from components.infra_validator.probe import FOUND, REQUEST
from components.infra_validator.report import Check, Report
from schemas.config import InfraConfig
from schemas.errors import InputDataError

_PROJECT = Path(__file__).resolve().parents[2]
_NAMED = 5
_LAST_LINES = 2


def check_model(model: Path, displays: Sequence[Sequence[bytes]], config: InfraConfig) -> Report:
    """Checks whether a server can serve a model.

    In this order: its operations are allowed, it loads, its signatures are those of `schemas.serving`, it answers the requests
    (`components.infra_validator.probe`), and it keeps to the bounds on latency and size. What fails ends the checks, but for the
    bounds. A model whose operations are refused is not loaded.

    Args:
        model: Folder of a SavedModel.
        displays: Serialised raw tf.Examples (one an ad) of each display to ask for.
        config: The bounds.
    """
    checks = [_operations(model, config)]
    latency_ms: dict[str, float] = {}
    if checks[-1].passed and not displays:
        checks.append(Check("scores", False, "The eval split has no Example to ask the model with."))
    elif checks[-1].passed:
        asked, latency_ms = _ask(model, displays, config.timeout_s)
        checks += asked
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    if latency_ms:
        checks.append(_latency(latency_ms, config.max_latency_ms))
    checks.append(_size(size, config.max_bytes))
    return Report(tuple(checks), size, latency_ms)


def _operations(model: Path, config: InfraConfig) -> Check:
    try:
        refused = refused_operations(read_saved_model(model), config.allowed_ops)
    except InputDataError as error:
        return Check("operations", False, f"The model is incomplete: {error}.")
    if not refused:
        return Check("operations", True, "All operations of the graph are on the list of allowed ones.")
    named = ", ".join(f"{op} (in {place})" for op, place in sorted(refused.items())[:_NAMED])
    more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
    return Check("operations", False, f"The graph has operations that a served model may not have: {named}{more}.")


def _ask(model: Path, displays: Sequence[Sequence[bytes]], timeout_s: float) -> tuple[list[Check], dict[str, float]]:
    """Runs the probe; returns its checks, with one for how it ended if that was not well, and the latency if it came so far."""
    with tempfile.TemporaryDirectory(prefix="clickrank-infra-") as work:
        encoded = [[base64.b64encode(example).decode() for example in display] for display in displays]
        Path(work, REQUEST).write_text(json.dumps({"model": str(model.absolute()), "displays": encoded}))
        ended, log = _run_probe(work, timeout_s)
        found = _found(Path(work, FOUND))
    checks = [Check(**check) for check in found.get("checks", [])]
    doing = found.get("doing", "starting")
    if ended is None:
        sentence = f"The model was still {doing} after infra.timeout_s = {timeout_s:g} s, and was stopped."
    elif ended < 0:
        name = signal.Signals(-ended).name
        hint = ", as the system does where memory runs out" if ended == -signal.SIGKILL else ""
        sentence = f"The process was killed by {name} while {doing}{hint}."
    elif ended > 0:
        sentence = f"The process failed while {doing}; its last lines: {_last_lines(log)}."
    else:
        return checks, found.get("latency_ms", {})
    return [*checks, Check("process", False, sentence)], {}


def _run_probe(work: str, timeout_s: float) -> tuple[int | None, str]:
    """Returns the exit code, negative for a signal, None for too late; and what it logged."""
    path = os.pathsep.join([str(_PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    with open(Path(work, "log.txt"), "w+b") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "components.infra_validator.probe", work],
            env=environment,
            stdin=subprocess.PIPE,  # which ends with this process, and ends that one
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin:
                process.stdin.close()
        log.seek(0)
        return code, log.read().decode(errors="replace")


def _found(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _last_lines(log: str) -> str:
    return " | ".join([line.strip()[:200] for line in log.splitlines() if line.strip()][-_LAST_LINES:]) or "nothing logged"


def _latency(latency_ms: dict[str, float], bound: float | None) -> Check:
    sentence = f"One display takes {latency_ms['p50']:g} ms, at the 99th percentile {latency_ms['p99']:g} ms"
    demand = "" if bound is None else f"; infra.max_latency_ms is {bound:g}"
    return Check("latency", bound is None or latency_ms["p99"] <= bound, f"{sentence}{demand}.")


def _size(size: int, bound: int | None) -> Check:
    demand = "" if bound is None else f"; infra.max_bytes is {bound:,}"
    return Check("size", bound is None or size <= bound, f"The model has {size:,} bytes on disk{demand}.")
