"""One run of the pipeline from the raw tables to a verdict, with its folder, log, lock and summary."""

import fcntl
import json
import os
import resource
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config import to_yaml
from pipeline.console import RunConsole
from pipeline.nodes import NODES
from pipeline.noise import log_to
from pipeline.paths import RootPaths
from schemas.config import Config
from schemas.errors import ClickrankError, ConfigError, TransientError, recover
from schemas.tables import OUTBRAIN


def run(data: Path, root: Path, config: Config, *, runner: str, from_node: str | None, verbose: bool) -> dict[str, Any]:
    """Runs the pipeline and returns its summary (`pipeline.results.summarise`), which is kept in the run's folder, too.

    Raises:
        ClickrankError: The run failed; the message says why, and where the log is where that helps.
    """
    from transforms.sources import find_sources, fingerprint

    start = time.monotonic()
    if from_node and from_node not in NODES:
        raise ConfigError(f"--from-node: no such node. Received: {from_node!r}; the nodes are {', '.join(NODES)}")
    paths = RootPaths(root.absolute())
    digest = fingerprint(find_sources(str(data), OUTBRAIN))
    run_id = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)
    folder = paths.run(run_id)
    with _locked(paths):
        _make(folder)
        (folder / "config.resolved.yaml").write_text(to_yaml(config))
        log = folder / "log.txt"
        with log_to(log, verbose) as screen:
            console = RunConsole(screen, len(NODES))
            console.say(f"Run {run_id} on {data}, log in {log}")
            # TensorFlow and TFX take seconds to import: after the checks that need neither, and behind the log.
            from pipeline import graph, results, runners
            from schemas import progress

            pipeline = graph.create_pipeline(str(data.absolute()), digest, paths, config)
            progress.set_sink(console.advanced)
            try:
                failure = runners.run_pipeline(pipeline, run_id, runner, console, from_node)  # type: ignore[arg-type]
            finally:
                progress.set_sink(None)
            if failure:
                raise _explain(failure.node_id, failure.error, log)
            summary = results.summarise(paths, run_id, data, config.split)
            summary |= {
                "run_id": run_id,
                "seconds": round(time.monotonic() - start, 1),
                "node_seconds": {name: round(seconds, 2) for name, seconds in console.seconds.items()},
                "cached_nodes": sorted(console.cached),
                "peak_rss_bytes": peak_rss_bytes(),
                "report": str(folder / "summary.json"),
            }
            (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
            console.summarise(summary)
    return summary


def peak_rss_bytes() -> int:
    """The largest resident memory that this process, or one of its children, has had."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(own, children) * 1024


def _explain(node_id: str, error: BaseException | None, log: Path) -> ClickrankError:
    assert error is not None  # a failure has one
    known = recover(error)
    where = f"{node_id} failed: " if node_id else ""
    if known is not None:
        return type(known)(str(known))
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return ClickrankError(f"{where}{type(error).__name__}: {first}; see {log}")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}") from error


@contextmanager
def _locked(paths: RootPaths) -> Iterator[None]:
    """Two runs at one root would write one metadata store: the second is told to wait. The lock goes with its process."""
    _make_root(paths.root)
    with paths.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TransientError(f"{paths.root}: another run is using this root; wait for it, or give another --root") from error
        yield


def _make_root(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--root {root}: cannot be made: {error.strerror}") from error
    if not os.access(root, os.W_OK):
        raise ConfigError(f"--root {root}: cannot be written to")
