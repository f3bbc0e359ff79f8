"""How the runs of the test's server go, and how Kubeflow shows that."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Script:
    """How a run goes: each look at it finds `pace` more steps done, until all are or `fails`, a step's name, has failed.

    Attributes:
        fails: Name of the step, or of its driver.
        stumbles: Name of a step that fails the first time; with a pace of one.
        message: Its error; empty where Kubeflow gives none.
        pace: Steps.
        state: Of the run in the end, if not SUCCEEDED or FAILED.
    """

    fails: str | None = None
    stumbles: str | None = None
    message: str = ""
    pace: int = 5
    state: str | None = None


def progress(steps: list[str], script: Script, looks: int) -> dict[str, Any]:
    """What a run shows at a look: the steps, the drivers before them, and the pods in them."""
    done = min(looks * script.pace, len(steps))
    driver = script.fails and script.fails.endswith("-driver")
    fails = script.fails.removesuffix("-driver") if script.fails else None
    failed = fails is not None and done > steps.index(fails)
    if failed:
        done = steps.index(fails)
    ended = failed or done == len(steps)
    tasks = []
    for number, step in enumerate(steps[: done if ended and not failed else done + 1]):
        state = "SUCCEEDED" if number < done else "FAILED" if failed or step == script.stumbles else "RUNNING"
        error = {"error": {"code": 13, "message": script.message}} if state == "FAILED" and script.message else {}
        pod = f"clickrank-x-{step}"
        times = {"start_time": f"2026-01-01T12:{number:02}:00+00:00"}
        if state != "RUNNING":
            times |= {"end_time": f"2026-01-01T12:{number:02}:30+00:00"}
        drove = {"state": state if driver else "SUCCEEDED", **(error if driver else {}), "pod_name": f"{pod}-driver"}
        tasks.append({"task_id": f"d{number}", "display_name": f"{step}-driver", **drove, **times})
        if not (driver and state == "FAILED"):
            # As in Argo, what comes after a step is among its children.
            after = [{"task_id": f"d{number + 1}"}] if number < done else []
            children = [{"task_id": f"e{number}", "pod_name": f"{pod}-impl"}, *after]
            tasks.append({"task_id": f"t{number}", "display_name": step, "state": state, **times, "child_tasks": children})
            tasks.append({"task_id": f"e{number}", "display_name": "executor", "state": state, **error, "pod_name": f"{pod}-impl"})
    if failed:
        tasks += [{"task_id": f"t{step}", "display_name": step, "state": "SKIPPED"} for step in steps[done + 1 :]]
    state = "FAILED" if failed else "SUCCEEDED" if ended else "RUNNING"
    return {"state": script.state or state if ended else state, "run_details": {"task_details": tasks}}
