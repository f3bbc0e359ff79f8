"""What became of a run and of its nodes, from what it noted itself and from the metadata store."""

import time
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from pipeline.report import content
from pipeline.report.artifacts import NotThereError, RunArtifacts
from pipeline.report.sources import Sources, part
from pipeline.usage import read_usage

_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "finished",
    metadata_store_pb2.Execution.FAILED: "failed",
    metadata_store_pb2.Execution.CACHED: "cached",
    metadata_store_pb2.Execution.CANCELED: "canceled",
}


def run(sources: Sources) -> content.Run:
    """Returns which run it is, and how it ended."""
    stored = content.present(part(lambda: sources.run))
    summary = content.present(part(lambda: sources.summary)) or {}
    blessed = content.present(part(lambda: stored.blessed_before if stored else None))
    state, note = _state(sources, stored, bool(summary))
    path = summary.get("pushed_path") or ""
    return content.Run(
        sources.run_id,
        str(sources.paths.root),
        stored.property_of("ClickExampleGen", "data") if stored else "",
        stored.started if stored else _time_of(sources.run_id),
        summary.get("seconds"),
        state,
        note,
        blessed.run_id if blessed else None,
        summary.get("pushed_version"),
        f"serving/{Path(path).name}" if path and Path(path).parent.name == "serving" else path,
        summary.get("not_pushed") or "",
    )


def _state(sources: Sources, stored: RunArtifacts | None, has_summary: bool) -> tuple[content.RunState, str]:
    """How a run ended; of one that did not finish, a sentence about it."""
    if has_summary:
        return "finished", ""
    usage = content.present(part(lambda: read_usage(sources.paths.usage(sources.run_id)))) or ()
    for node in usage:
        if node.state == "failed":
            return "failed", f"{node.node} failed: {node.error}"
    executions = stored.executions if stored else {}
    for name, execution in executions.items():
        if execution.last_known_state == metadata_store_pb2.Execution.FAILED:
            return "failed", f"{name} failed, or the run was killed while it worked; the log says more."
    last = usage[-1].node if usage else next(reversed(executions), None)
    where = f"The last that is known of it is {last}." if last else "It ended before its first node."
    return "unfinished", f"The run has not come to its end: it still goes on, was stopped, or was killed. {where}"


def _time_of(run_id: str) -> float | None:
    try:
        return time.mktime(time.strptime(run_id[:15], "%Y%m%d-%H%M%S"))
    except ValueError:
        return None


def nodes(sources: Sources) -> tuple[content.Node, ...]:
    """Returns what each node took.

    Raises:
        NotThereError: No node has started.
    """
    usage = content.present(part(lambda: read_usage(sources.paths.usage(sources.run_id))))
    if usage:
        return tuple(content.Node(u.node, u.state, u.seconds, u.cpu_seconds, u.peak_rss_bytes, u.error) for u in usage)
    # What an older version left: the times in the metadata store.
    found = tuple(
        content.Node(
            name,
            _STATES.get(execution.last_known_state, "running"),
            (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000,
        )
        for name, execution in sources.run.executions.items()
    )
    if not found:
        raise NotThereError("No node of the run has started.")
    return found
