"""What the pods of a job tell of it: whether all train, how often some were lost, and why it failed. Pure."""

import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.training_job.members import Member
from schemas.errors import ClickrankError, ConfigError, InputDataError, RemoteError, TransientError

logger = logging.getLogger(__name__)

TRY_AGAIN = 138
"""The exit code in the place of 75, which operators take for a permanent error. From 128 on they start a pod again; earlier ones
did so for 130, 137, 138 and 143 alone, 138 being for programs to say so (kubeflow/training-operator, `IsRetryableExitCode`)."""

_BY_CODE = {kind.exit_code: kind for kind in (ConfigError, InputDataError, RemoteError)}
_SIGNALS = 128
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod.

    Attributes:
        member: Which of the job's members it is.
        name, uid: Its own.
        phase: Pending, Running, Succeeded or Failed; Unknown.
        exit_code: Of its container, once that has ended.
        why: What Kubernetes says of a pod that waits or has failed, in one line.
    """

    member: str
    name: str
    uid: str
    phase: str
    exit_code: int | None = None
    why: str = ""

    @property
    def has_failed_for_good(self) -> bool:
        """Whether the operator lets it be: it failed, and not by a signal."""
        return self.phase == "Failed" and self.exit_code is not None and 0 < self.exit_code < _SIGNALS


def pod_state(pod: Mapping[str, Any], member: str, container: str) -> PodState:
    """Returns what a pod's object says, of its `container` and not of others that a cluster may add."""
    meta, status = pod["metadata"], pod.get("status") or {}
    states = {one["name"]: one.get("state") or {} for one in status.get("containerStatuses") or []}
    state = states.get(container, {})
    terminated, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    unscheduled = [
        condition
        for condition in status.get("conditions") or []
        if (condition["type"], condition["status"]) == ("PodScheduled", "False")
    ]
    told: Mapping[str, Any] = next((part for part in (terminated, waiting, status, *unscheduled) if part.get("reason")), {})
    last_line = (str(told.get("message") or "").strip().splitlines() or [""])[-1].strip()
    why = ": ".join(filter(None, [told.get("reason"), last_line[:_LONGEST]]))
    return PodState(member, meta["name"], meta["uid"], status.get("phase") or "Unknown", terminated.get("exitCode"), why)


def error_of(pod: PodState) -> ClickrankError:
    """Returns what a failed pod means that left no error of its own."""
    code = pod.exit_code
    if code is None:
        return TransientError(f"training {pod.member} was lost; {pod.why or 'nobody says why'}")
    if code == TRY_AGAIN:
        return TransientError(f"training {pod.member} ended to begin again; {pod.why or 'nobody says why'}")
    if code >= _SIGNALS:
        names = {_SIGNALS + number: number.name for number in signal.Signals}
        return TransientError(f"training {pod.member} was killed by {names.get(code, code)}; {pod.why or 'nobody says why'}")
    return _BY_CODE.get(code, ClickrankError)(f"training {pod.member} failed with exit code {code}; {pod.why or 'nothing logged'}")


@dataclass
class Group:
    """The pods of a job over time.

    Attributes:
        names: Of all members, the chief's first.
        since: When it was last known that not all train, in seconds of any clock.
        trains: Whether all do.
        losses: How often all did, and then some were lost.
        lost: What was said of the latest loss.
    """

    names: tuple[str, ...]
    since: float
    trains: bool = False
    losses: int = 0
    lost: str = ""
    _uids: dict[str, str] = field(default_factory=dict)

    def update(self, pods: Mapping[str, PodState], failed: Mapping[str, PodState], said: Mapping[str, Member], now: float) -> None:
        """Takes in what is known now.

        Args:
            pods: Name of a member -> its pod, of those that are there.
            failed: uid -> pods that were seen to fail.
            said: Name of a member -> what it says of itself.
            now: By the same clock as `since`.
        """
        alive = {name: pod for name, pod in pods.items() if pod.uid not in failed}
        if self.trains:
            here = {name: pod.uid for name, pod in alive.items()}
            gone = [name for name in self.names if here.get(name) != self._uids[name]]
            if gone:
                # One loss makes the others end, too, and these say so.
                known = [failed[self._uids[name]] for name in gone if self._uids[name] in failed]
                first = min(known, key=lambda pod: pod.exit_code == TRY_AGAIN, default=None)
                self.lost = str(error_of(first)) if first else f"training {gone[0]} was lost"
                self.trains, self.since, self.losses = False, now, self.losses + 1
                logger.warning("%s; loss %d", self.lost, self.losses)
        if not self.trains and self._all_ready(alive, said):
            self.trains, self._uids = True, {name: pods[name].uid for name in self.names}
            logger.info("%d pods train: %s", len(self.names), ", ".join(pods[name].name for name in self.names))

    def _all_ready(self, pods: Mapping[str, PodState], said: Mapping[str, Member]) -> bool:
        return all(name in pods and name in said and said[name].ready and said[name].uid == pods[name].uid for name in self.names)

    def waits_for(self, pods: Mapping[str, PodState], said: Mapping[str, Member]) -> str:
        """Says what is in the way of those that do not train yet."""
        parts = []
        for name in self.names:
            pod = pods.get(name)
            if pod is None:
                parts.append(f"{name} has no pod")
            elif pod.why or pod.phase == "Pending":
                parts.append(f"{name} is {pod.phase.lower()}{f', {pod.why}' if pod.why else ''}")
            elif not (name in said and said[name].ready and said[name].uid == pod.uid):
                parts.append(f"{name} has not met the others")
        return "; ".join(parts)


def end_of(job: Mapping[str, Any], succeeded: str) -> tuple[bool, str] | None:
    """Returns whether a job has succeeded, and what is said of it; None if it has not ended.

    Args:
        job: The object.
        succeeded: The type of its condition that says so; that of failure is `Failed` everywhere.
    """
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in (succeeded, "Failed"):
            said = ": ".join(filter(None, [condition.get("reason"), " ".join(str(condition.get("message") or "").split())]))
            return condition["type"] == succeeded, said
    return None
