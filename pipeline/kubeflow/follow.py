"""Follows a run on Kubeflow Pipelines to its end, and says what became of it.

Kubeflow shows a step under its name in the compiled pipeline, and what prepares it under that name and `-driver`. Its API gives no
logs. What a failed step wrote last comes as the step's error where the installed version asks Kubernetes for it
(`terminationMessagePolicy: FallbackToLogsOnError` in kubeflow/pipelines, backend/src/v2/compiler/argocompiler); others give none.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.console import RunConsole
from pipeline.kubeflow.compile import step_name
from pipeline.kubeflow.place import Place, Submitted
from pipeline.nodes import NODES
from schemas.errors import NOT_PUSHED_EXIT_CODE, ClickrankError, TransientError

_ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_WORKED = ("SUCCEEDED", "FAILED")
_LINES = 10
# The first is of our own step, the others are of Kubeflow's launcher and of Kubernetes.
_REFUSED = re.compile(rf"\b(ended with exit code|exit status|exit code) {NOT_PUSHED_EXIT_CODE}\b")


_NAMES = {name for node in NODES for name in (node, step_name(node), f"{step_name(node)}-driver")}


@dataclass(frozen=True, slots=True)
class End:
    """What became of a run: Kubeflow's state, and whether it failed because the model was refused."""

    state: str
    refused: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A node's step as Kubeflow shows it.

    Attributes:
        state: Kubeflow's; empty if it shows none yet.
        seconds: How long it took, where both times are known.
        ended: When, to sort by.
        messages: Its error, and those of what it is made of.
        pods: Names of its pods, as far as Kubeflow gives them.
    """

    state: str
    seconds: float
    ended: str
    messages: tuple[str, ...]
    pods: tuple[str, ...]


def follow(
    place: Place, run: Submitted, nodes: tuple[str, ...], console: RunConsole, clock: Callable[[], float] = time.monotonic
) -> End:
    """Waits until a run has ended, and shows each node as it ends.

    Args:
        place: Where it is.
        run: The run.
        nodes: Those of its pipeline.
        console: Where to show it.
        clock: Seconds.

    Raises:
        ClickrankError: It failed or was cancelled; the message says where, and how to see more. `TransientError`: it could not be
            followed to its end, or takes longer than `kubeflow.api.wait_s`; the run goes on.
    """
    api, start = place.api, clock()
    shown: dict[str, str] = {}
    while True:
        try:
            found = place.retries.persist(lambda: place.client.get_run(run.kubeflow_id))
        except TransientError as error:
            raise TransientError(f"{error}; the run goes on: {run.url}") from error
        steps = steps_of(found, nodes)
        _show(steps, shown, console)
        if found.state in _ENDED:
            return _end(found, steps, run, place, console)
        if api.wait_s is not None and clock() - start > api.wait_s:
            raise TransientError(f"waited {api.wait_s} s for run {run.name}, which goes on: {run.url}")
        place.retries.sleep(api.poll_s)


def steps_of(run: Any, nodes: tuple[str, ...]) -> dict[str, Step]:
    """Returns, by node, what Kubeflow says about a run's steps; of one that is there more than once, the latest.

    A step whose driver failed has failed.
    """
    details = (run.run_details and run.run_details.task_details) or []
    found = {}
    for node in nodes:
        own = [task for task in details if task.display_name in (node, step_name(node))]
        drivers = [task for task in details if task.display_name == f"{step_name(node)}-driver" and task.state == "FAILED"]
        found[node] = _step(own if any(task.state in _WORKED for task in own) else drivers or own, details)
    return found


def refused(node: str, step: Step) -> bool:
    """Whether a step failed because the model was refused: of that the last node ends with a code of its own."""
    return node == NODES[-1] and any(_REFUSED.search(message) for message in step.messages)


def _step(tasks: list[Any], details: list[Any]) -> Step:
    if not tasks:
        return Step("", 0.0, "", (), ())
    task = max(tasks, key=lambda one: str(one.create_time or ""))
    seconds = (task.end_time - task.start_time).total_seconds() if task.start_time and task.end_time else 0.0
    parts = list(_parts(task, details, set()))
    messages = [part.error.message for part in parts if part.error and part.error.message]
    pods = [pod for part in parts for pod in (part.pod_name, *(child.pod_name for child in part.child_tasks or ())) if pod]
    return Step(task.state or "", max(seconds, 0.0), str(task.end_time or ""), tuple(messages), tuple(dict.fromkeys(pods)))


def _parts(task: Any, details: list[Any], seen: set[str]) -> Iterator[Any]:
    """Yields a task and what it is made of."""
    yield task
    seen.add(task.task_id)
    below = {child.task_id for child in task.child_tasks or () if child.task_id}
    for other in details:
        mine = other.task_id in below or (other.parent_task_id and other.parent_task_id == task.task_id)
        # What comes after a step is among its children, too: it has a name of its own.
        if mine and other.task_id not in seen and other.display_name not in _NAMES:
            yield from _parts(other, details, seen)


def _show(steps: dict[str, Step], shown: dict[str, str], console: RunConsole) -> None:
    """Writes the line of each node that has ended since, once more for one that was tried again, and shows which are running.

    `shown` is what was shown last: node -> state, and "" -> the running nodes.
    """
    ended = [node for node, step in steps.items() if step.state in _WORKED and step.state != shown.get(node)]
    running = ", ".join(node for node, step in steps.items() if step.state == "RUNNING")
    if not ended and running == shown.get("", ""):
        return
    for node in sorted(ended, key=lambda node: steps[node].ended):
        if steps[node].state == "SUCCEEDED":
            console.finished(node, steps[node].seconds, cached=False)
        else:
            console.failed(node, steps[node].seconds, ClickrankError())
        shown[node] = steps[node].state
    console.rest()
    if running:
        console.working(f"running: {running}")
    shown[""] = running


def _end(found: Any, steps: dict[str, Step], run: Submitted, place: Place, console: RunConsole) -> End:
    console.rest()
    if found.state not in ("FAILED", "CANCELED"):
        console.say(f"Run {run.name} succeeded: {run.url}")
        return End(found.state, refused=False)
    if found.state == "CANCELED":
        raise ClickrankError(f"run {run.name} was cancelled: {run.url}")
    failed = [node for node, step in steps.items() if step.state == "FAILED"]
    if not failed:
        why = f": {' '.join(found.error.message.split())}" if found.error and found.error.message else ""
        raise ClickrankError(f"run {run.name} failed{why}; Kubeflow names no step that did: {run.url}")
    for node in failed:
        _tell(node, steps[node], place, console)
    if any(refused(node, steps[node]) for node in failed):
        console.say("Nothing was pushed: the model was refused; the reasons are in the log of the step, and in the run's report")
        return End(found.state, refused=True)
    unsure = "; a model that is refused fails it, too: its log says so" if failed == [NODES[-1]] else ""
    raise ClickrankError(f"run {run.name} failed at {', '.join(failed)}{unsure}: {run.url}")


def _tell(node: str, step: Step, place: Place, console: RunConsole) -> None:
    """Writes the last lines that a failed step wrote, as far as Kubeflow gives them, and how to see the others."""
    lines = [line for message in step.messages for line in message.splitlines() if line.strip()][-_LINES:]
    where = f" --namespace {place.api.namespace}" if place.api.namespace else ""
    pods = step.pods or ("POD",)
    more = " or ".join(f"kubectl logs {pod} --container main{where}" for pod in pods[-3:])
    if lines:
        console.say(f"{node}, the end of its log; all of it by {more}:")
        for line in lines:
            console.say(f"  {line}")
    else:
        console.say(f"{node}: this Kubeflow gives no log of it; see its page, or {more}")
