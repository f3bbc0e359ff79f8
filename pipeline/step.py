"""One node of a run in this process: the nodes of a run, each a process of its own, come to what `pipeline.run` comes to.

Whoever starts them keeps their order. What one needs to know of the others is in the metadata store and in the run's folder.
"""

import json
import logging
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config import load_config, to_yaml
from pipeline.console import RunConsole
from pipeline.locks import alone, file_errors, locked_for_step, looking_after
from pipeline.nodes import NODES, nodes_for
from pipeline.noise import log_to
from pipeline.paths import RootPaths
from pipeline.run import NodeError, explain, write_report, write_summary
from pipeline.siblings import write_whole
from pipeline.usage import NodeUsage, UsageRecorder, read_usage
from schemas.config import Config
from schemas.errors import ConfigError, TransientError
from schemas.tables import OUTBRAIN

FIRST, LAST = NODES[0], NODES[-1]
MAY_CHANGE = ("beam", "training_job")
"""Sections that the tries of a run may have differently: who trained out of memory goes on with more."""


def run_step(node: str, data: Path, root: Path, run_id: str, config: Config, *, verbose: bool) -> dict[str, Any]:
    """Runs one node of a run; one that has succeeded in this run is not run again.

    Args:
        node: Its id. `FIRST` alone reads the raw tables; `LAST` also writes the run's summary and report.
        data: Folder of the raw tables.
        root: Where the run is.
        run_id: Name of the run, the same for all its nodes; well-formed.
        config: The configuration, the same for all its nodes.
        verbose: Whether the log goes to the screen instead of the run's folder.

    Returns:
        `node`, `run_id`, `state` (`finished`; `cached`; `before`: it had succeeded already), `seconds`, and `summary`: that of the
        run, as `pipeline.run.run` returns it, after `LAST`, else None.

    Raises:
        ClickrankError: It failed; the message says why, and where the log is where that helps. `ConfigError`: a node before it has
            not succeeded in this run. `TransientError`: it runs already.
    """
    names = nodes_for(config)
    if node not in names:
        raise ConfigError(f"no such node under this configuration. Received: {node!r}; the nodes are {', '.join(names)}")
    paths = RootPaths(root.absolute())
    steps = paths.steps(run_id)
    with file_errors(f"--root {root}"), locked_for_step(paths, run_id):
        steps.mkdir(parents=True, exist_ok=True)
        _keep_config(paths, run_id, config)
        log = steps / f"{node}.log.txt"
        with alone(steps / f"{node}.lock", node, run_id), log_to(log, verbose) as screen:
            console = RunConsole(screen, len(names), names.index(node))
            try:
                state, seconds = _run(node, data, paths, run_id, config, console)
                summary = _close(paths, run_id, data, config, console) if node == LAST else None
            except Exception as error:
                logging.error("%s failed", node, exc_info=error)
                raise explain(error, paths.root, None if verbose else log) from error
            if summary:
                from pipeline.tracking.track import track_run

                console.summarise(summary)
                track_run(paths, run_id, config.tracking, console)
    return {"node": node, "run_id": run_id, "state": state, "seconds": round(seconds, 2), "summary": summary}


def _keep_config(paths: RootPaths, run_id: str, config: Config) -> None:
    """Keeps the run's configuration, or makes sure that this is it."""
    file = paths.run(run_id) / "config.resolved.yaml"
    with looking_after(paths):
        if not file.exists():
            write_whole(file, to_yaml(config))
            return
    kept = load_config([file])
    changed = [name for name in Config.model_fields if name not in MAY_CHANGE and getattr(kept, name) != getattr(config, name)]
    if changed:
        raise ConfigError(f"run {run_id} began with another configuration, its sections {', '.join(changed)} differ: {file}")


def _run(node: str, data: Path, paths: RootPaths, run_id: str, config: Config, console: RunConsole) -> tuple[str, float]:
    """Returns what came of the node, and in how many seconds."""
    from components.training_job.settings import in_force
    from pipeline import connection, graph, runners, store
    from schemas import progress

    with looking_after(paths):
        metadata = connection.settle(paths, config.metadata)
        before = store.finished_nodes(metadata, run_id)
        if node not in before:
            store.tidy_node(metadata, paths, run_id, node)
            store.strike_out_lost(metadata, paths)
    if node in before:
        console.say(f"{node} has succeeded in run {run_id} before")
        return "before", 0.0
    # The digest of the tables is for ClickExampleGen: no other node needs to reach them.
    digest = _begin(data, paths, run_id, config) if node == FIRST else ""
    compiled = runners.compile_graph(graph.create_pipeline(str(data.absolute()), digest, paths, config), run_id)
    missing = [name for name in runners.upstream_nodes(compiled)[node] if name not in before]
    if missing:
        raise ConfigError(f"{node}: {', '.join(missing)} must succeed first in run {run_id} at {paths.root}")
    usage = paths.steps(run_id) / f"{node}.json"
    progress.set_sink(console.advanced)
    try:
        with in_force(config.training_job):
            failure = runners.run_node(compiled, node, UsageRecorder(usage, console))
    finally:
        progress.set_sink(None)
    with suppress(OSError, TransientError), looking_after(paths):  # as in `pipeline.run`
        _gather_usage(paths, run_id)
        store.remember_sizes(connection.open_store(paths), paths)
    if failure:
        raise NodeError(failure.node_id) from failure.error
    if node not in store.finished_nodes(connection.open_store(paths), run_id):
        raise NodeError(node) from LookupError("its inputs could not be found in the metadata store")
    return "cached" if node in console.cached else "finished", console.seconds[node]


def _begin(data: Path, paths: RootPaths, run_id: str, config: Config) -> str:
    """Makes the checks that come before a run's work, and notes what it is made of; returns the digest of the raw tables."""
    from components.trainer.check import check_model, needs_check
    from pipeline.record import keep_record
    from pipeline.tracking.send import check_installed
    from transforms.sources import find_sources

    check_installed(config.tracking)
    sources = find_sources(str(data), OUTBRAIN)
    digest = keep_record(paths, run_id, data, sources, runner="local", from_node=None, rerun_of=None)
    if needs_check(config):
        check_model(config)
    return digest


def _gather_usage(paths: RootPaths, run_id: str) -> tuple[NodeUsage, ...]:
    """Puts what the nodes took into the one file that a run has of it."""
    found = [file for name in NODES if (file := paths.steps(run_id) / f"{name}.json").exists()]
    records = tuple(record for file in found for record in read_usage(file))
    write_whole(paths.usage(run_id), json.dumps([asdict(record) for record in records], indent=1) + "\n")
    return records


def _close(paths: RootPaths, run_id: str, data: Path, config: Config, console: RunConsole) -> dict[str, Any]:
    """Writes summary and report of a run whose nodes have all succeeded."""
    from pipeline import results

    with looking_after(paths):
        usage = _gather_usage(paths, run_id)
    summary = results.summarise(paths, run_id, data, config.split) | {
        "run_id": run_id,
        "seconds": round(max(u.started + u.seconds for u in usage) - min(u.started for u in usage), 1),
        "node_seconds": {u.node: round(u.seconds, 2) for u in usage},
        "cached_nodes": sorted(u.node for u in usage if u.state == "cached"),
        "peak_rss_bytes": max(u.peak_rss_bytes for u in usage),
        "summary": str(paths.run(run_id) / "summary.json"),
        "report": str(paths.report(run_id)),
    }
    write_summary(summary)
    write_report(paths, summary, console)
    return summary
