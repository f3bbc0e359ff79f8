"""One run of the pipeline from the raw tables to a verdict, with its folder, log, lock and summary."""

import json
import logging
import resource
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config import load_config, to_yaml
from pipeline.console import RunConsole
from pipeline.jobs import new_run_id
from pipeline.locks import file_errors, locked
from pipeline.nodes import NODES, SECTIONS, nodes_for
from pipeline.noise import log_to
from pipeline.paths import RootPaths
from pipeline.siblings import write_whole
from pipeline.usage import UsageRecorder
from schemas.config import Config
from schemas.errors import ClickrankError, ConfigError, TransientError, recover
from schemas.tables import OUTBRAIN


def run(
    data: Path,
    root: Path,
    config: Config,
    *,
    runner: str,
    from_node: str | None,
    resume: bool,
    verbose: bool,
    rerun_of: str | None = None,
) -> dict[str, Any]:
    """Runs the pipeline and returns its summary (`pipeline.results.summarise`), which is kept in the run's folder, too.

    With `rerun_of`, no node is served from the cache, and the summary has a comparison with that run (`pipeline.repetition`).

    Raises:
        ClickrankError: The run failed; the message says why, and where the log is where that helps.
    """
    from pipeline.record import keep_record
    from pipeline.repetition import compare
    from pipeline.tracking.send import check_installed
    from pipeline.tracking.track import track_run
    from transforms.sources import find_sources

    start = time.monotonic()
    if from_node and from_node not in nodes_for(config):
        raise ConfigError(f"--from-node: no such node. Received: {from_node!r}; the nodes are {', '.join(nodes_for(config))}")
    check_installed(config.tracking)
    paths = RootPaths(root.absolute())
    sources = find_sources(str(data), OUTBRAIN)
    run_id = new_run_id()
    folder = paths.run(run_id)
    with file_errors(f"--root {root}"), locked(paths):
        if from_node:
            _check_unchanged(paths, config, from_node)
        if not resume:
            shutil.rmtree(paths.checkpoints, ignore_errors=True)
        folder.mkdir(parents=True)
        write_whole(folder / "config.resolved.yaml", to_yaml(config))
        log = folder / "log.txt"
        with log_to(log, verbose) as screen:
            names = nodes_for(config)
            console = RunConsole(screen, len(names) - (names.index(from_node) if from_node else 0))
            console.say(f"Run {run_id} on {data}, log in {log}")
            try:
                digest = keep_record(paths, run_id, data, sources, runner=runner, from_node=from_node, rerun_of=rerun_of)
                summary = _run_nodes(data, digest, paths, config, run_id, console, runner, from_node, anew=rerun_of is not None)
                summary |= {
                    "run_id": run_id,
                    "seconds": round(time.monotonic() - start, 1),
                    "node_seconds": {name: round(seconds, 2) for name, seconds in console.seconds.items()},
                    "cached_nodes": sorted(console.cached),
                    "peak_rss_bytes": peak_rss_bytes(),
                    "summary": str(folder / "summary.json"),
                    "report": str(paths.report(run_id)),
                }
                if rerun_of:
                    summary["rerun"] = compare(paths, rerun_of, summary)
                write_summary(summary)
                write_report(paths, summary, console)
            except Exception as error:
                # The root logger's messages go to the log only.
                logging.error("The run failed", exc_info=error)
                raise explain(error, paths.root, log) from error
            console.summarise(summary)
            track_run(paths, run_id, config.tracking, console)
    return summary


def _run_nodes(
    data: Path,
    digest: str,
    paths: RootPaths,
    config: Config,
    run_id: str,
    console: RunConsole,
    runner: str,
    from_node: str | None,
    anew: bool,
) -> dict[str, Any]:
    # TensorFlow and TFX take seconds to import: after the checks that need neither, and behind the log.
    from components.trainer.check import check_model, needs_check
    from components.training_job.settings import in_force
    from pipeline import connection, graph, results, runners, store
    from schemas import progress

    if needs_check(config):
        check_model(config)
    metadata = connection.settle(paths, config.metadata)
    store.tidy(metadata, paths)
    if from_node:
        store.check_reusable(metadata, from_node)
    pipeline = graph.create_pipeline(str(data.absolute()), digest, paths, config, anew=anew)
    progress.set_sink(console.advanced)
    try:
        watcher = UsageRecorder(paths.usage(run_id), console)
        with in_force(config.training_job):
            failure = runners.run_pipeline(pipeline, run_id, runner, watcher, from_node)  # type: ignore[arg-type]
    finally:
        progress.set_sink(None)
    # A full disk ends the run elsewhere; what has no size is not checked. The store's server may have been started again since.
    with suppress(OSError, TransientError):
        store.remember_sizes(connection.open_store(paths), paths)
    if failure:
        raise NodeError(failure.node_id) from failure.error
    return results.summarise(paths, run_id, data, config.split)


def write_summary(summary: dict[str, Any]) -> None:
    """Writes the summary to the file that it names."""
    write_whole(Path(summary["summary"]), json.dumps(summary, indent=1) + "\n")


def write_report(paths: RootPaths, summary: dict[str, Any], console: RunConsole) -> None:
    """Writes the report, which reads the summary; a run is not lost for the want of it."""
    from pipeline.report.write import write_report

    try:
        write_report(paths, summary["run_id"], console)
    except Exception as error:
        logging.error("The report could not be made", exc_info=error)
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        console.say(f"warning: no report: {first}; `clickrank report --root {paths.root}` makes it", style="yellow")
        summary["report"] = None
        write_summary(summary)


def _check_unchanged(paths: RootPaths, config: Config, from_node: str) -> None:
    """Makes sure that the nodes left out would do now what they did in the latest run, as far as the configuration says.

    Raises:
        ConfigError: A section that one of them reads has changed.
    """
    earlier = sorted(paths.runs.glob("*/config.resolved.yaml"))
    if not earlier:
        return
    then, now = load_config([earlier[-1]]), config
    for node in NODES[: NODES.index(from_node)]:
        for section in SECTIONS.get(node, ()):
            if getattr(then, section) != getattr(now, section):
                raise ConfigError(
                    f"--from-node {from_node}: the section {section!r} differs from the latest run's, and {node} reads it; "
                    f"start from {node} or leave it as it was"
                )


class NodeError(Exception):
    """Wraps what a node raised; the message is the node's id, "" if the runner failed outside of all."""


def peak_rss_bytes() -> int:
    """The largest resident memory that this process, or one of its children, has had."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(own, children) * 1024


def explain(error: BaseException, root: Path, log: Path | None) -> ClickrankError:
    """Makes an error of the run one line, which names the log if it is in a file."""
    known = recover(error, str(root))
    if known is not None:
        return type(known)(str(known))
    where = ""
    if isinstance(error, NodeError) and error.__cause__ is not None:
        where, error = f"{error} failed: " if str(error) else "", error.__cause__
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return ClickrankError(f"{where}{type(error).__name__}: {first}{f'; see {log}' if log else ''}")
