"""What the infra check found."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from schemas.errors import InputDataError

INFRA_FILE = "infra.json"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a server must be able to do with a model.

    Attributes:
        name: What was looked at.
        passed: Whether it is as it must be.
        sentence: What was found, for people.
    """

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all checks.

    Attributes:
        checks: Those that were made: the first failed one is the last, but for the bounds.
        bytes: Size of the model's files.
        latency_ms: Percentiles p50 and p99 of the time for one display, and `calls`, how many were timed; empty if the model
            was not asked.
    """

    checks: tuple[Check, ...]
    bytes: int
    latency_ms: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the model may go out: every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences of the failed checks; of all, if none failed."""
        return tuple(check.sentence for check in self.checks if self.passed or not check.passed)

    def write(self, folder: Path) -> None:
        """Writes `infra.json`."""
        content = {
            "passed": self.passed,
            "reasons": self.reasons,
            "checks": [asdict(check) for check in self.checks],
            "latency_ms": self.latency_ms or None,
            "bytes": self.bytes,
        }
        (folder / INFRA_FILE).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def latency(seconds: Sequence[float]) -> dict[str, float]:
    """Returns p50 and p99 in milliseconds by nearest rank, and the number of calls."""
    ordered = sorted(seconds)
    ranked = {f"p{p}": round(1000 * ordered[math.ceil(p / 100 * len(ordered)) - 1], 3) for p in (50, 99)}
    return {**ranked, "calls": len(ordered)}


def read_infra(folder: str | Path) -> dict:
    """Reads the `infra.json` of an `infra_blessing` artifact: `passed`, `reasons`, `checks`, `latency_ms` or None, `bytes`.

    Raises:
        InputDataError: It is missing or damaged.
    """
    path = Path(folder, INFRA_FILE)
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise InputDataError(f"{path}: missing or damaged, run again ({error})") from error
