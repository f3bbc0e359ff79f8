"""What `verdict.json` and `infra.json` say; what a version does not say is left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import content
from pipeline.report.content import Estimate


def verdict(found: Mapping[str, Any]) -> content.Verdict:
    """Reads what `verdict.json` says."""
    comparison = found.get("comparison")
    return content.Verdict(
        bool(found["blessed"]),
        tuple(map(str, found.get("reasons") or ())),
        tuple(_checks(found.get("checks"))),
        content.Comparison(
            Estimate(comparison["difference"], comparison.get("lower"), comparison.get("upper")),
            comparison.get("confidence"),
            comparison.get("detectable_difference"),
            comparison.get("displays"),
            comparison.get("resamples"),
        )
        if comparison and comparison.get("difference") is not None
        else None,
    )


def infra(found: Mapping[str, Any]) -> content.Infra:
    """Reads what `infra.json` says."""
    latency = found.get("latency_ms") or {}
    return content.Infra(bool(found["passed"]), tuple(_checks(found.get("checks"))), latency.get("p50"), latency.get("p99"))


def _checks(found: Sequence[Mapping[str, Any]] | None) -> list[content.Check]:
    """Reads a list of checks."""
    return [
        content.Check(str(c.get("name", "")), bool(c.get("passed")), str(c.get("sentence") or c.get("found") or ""))
        for c in found or ()
    ]
