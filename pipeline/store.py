"""The metadata store of a root: tidied after runs that were killed, and asked what a run put out.

A run that is killed cleans nothing up: the next run at the root does, under the root's lock, for whoever wrote there is gone.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from pipeline.nodes import LEAK_AUDIT, NODES, WARM_START_RESOLVER
from pipeline.paths import RootPaths
from schemas.errors import ConfigError

_log = logging.getLogger(__name__)

_UNFINISHED = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)
_SUCCEEDED = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)
_WITHOUT_OUTPUT = (LEAK_AUDIT, "Resolver", WARM_START_RESOLVER)
"""Nodes that may put out nothing, or not be there."""

_MAY_BE_EMPTY = ("ModelBlessing",)
"""Artifact types whose folder need not hold a file: the Evaluator leaves its own blessing empty, the Gate is the judge."""

Outputs = dict[str, dict[str, metadata_store_pb2.Artifact]]


def tidy(store: mlmd.MetadataStore, paths: RootPaths) -> None:
    """Removes what killed runs left half done, and strikes out artifacts whose files are gone, all or some of them
    (`remember_sizes`), so that the cache makes them anew.

    Only for the holder of the root's lock.
    """
    _bury(store, paths, store.get_executions())
    for kind in ("executor_execution", "stateful_working_dir"):
        for folder in paths.artifacts.glob(f"*/.system/{kind}/*"):
            shutil.rmtree(folder, ignore_errors=True)
    strike_out_lost(store, paths)


def tidy_node(store: mlmd.MetadataStore, paths: RootPaths, run_id: str, node: str) -> None:
    """Removes what a killed try of one node of a run left half done. Only for the holder of the node's lock."""
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    if run is not None:
        _bury(store, paths, [e for e in store.get_executions_by_context(run.id) if _node_of(store, e) == node])


def _bury(store: mlmd.MetadataStore, paths: RootPaths, executions: Sequence[metadata_store_pb2.Execution]) -> None:
    """Makes failed ones of unfinished executions, whose processes are known to be gone, and removes their outputs."""
    dead = [e for e in executions if e.last_known_state in _UNFINISHED]
    for execution in dead:
        for folder in paths.artifacts.glob(f"*/*/{execution.id}"):  # NODE/OUTPUT/EXECUTION, TFX's layout
            shutil.rmtree(folder, ignore_errors=True)
        execution.last_known_state = metadata_store_pb2.Execution.FAILED
    if dead:
        store.put_executions(dead)


def strike_out_lost(store: mlmd.MetadataStore, paths: RootPaths) -> None:
    """Strikes out artifacts whose files are gone, all or some of them, so that the cache makes them anew."""
    sizes = _known_sizes(paths)
    gone = []
    for artifact in store.get_artifacts():
        why = _loss(artifact, sizes) if artifact.state == metadata_store_pb2.Artifact.LIVE else None
        if why:
            _log.warning("%s %s; it is made anew if it is needed", artifact.uri, why)
            artifact.state = metadata_store_pb2.Artifact.DELETED
            gone.append(artifact)
    if gone:
        store.put_artifacts(gone)


def remember_sizes(store: mlmd.MetadataStore, paths: RootPaths) -> None:
    """Notes how many files and bytes each artifact has, for `tidy` to find out what was half deleted since.

    Not in the store: TFX's cache takes an artifact with another property for another artifact. What was noted stays as it was.
    """
    known = _known_sizes(paths)
    live = {a.uri for a in store.get_artifacts() if a.state == metadata_store_pb2.Artifact.LIVE}
    sizes = {uri: known.get(uri) or _size(Path(uri)) for uri in sorted(live)}
    aside = paths.sizes.with_name(f".{paths.sizes.name}")
    aside.write_text(json.dumps(sizes, indent=1) + "\n")
    os.replace(aside, paths.sizes)


def _known_sizes(paths: RootPaths) -> dict[str, list[int]]:
    """URI -> [files, bytes]."""
    try:
        return dict(json.loads(paths.sizes.read_text()))
    except (OSError, ValueError):
        return {}


def _size(path: Path) -> list[int]:
    files = [file for file in [path, *path.rglob("*")] if file.is_file()]
    return [len(files), sum(file.stat().st_size for file in files)]


def check_reusable(store: mlmd.MetadataStore, from_node: str) -> None:
    """Checks that the latest run left what a run from `from_node` on builds upon.

    Raises:
        ConfigError: Names the node whose output is missing, or the folder that is gone.
    """
    advice = "run without --from-node; nodes whose outputs are there come from the cache"
    runs = store.get_contexts_by_type("pipeline_run")
    if not runs:
        raise ConfigError(f"--from-node {from_node}: no run has been at this root; run without --from-node")
    latest = max(runs, key=lambda context: context.id)
    outputs = outputs_of(store, latest)
    for node in NODES[: NODES.index(from_node)]:
        if node not in outputs and node not in _WITHOUT_OUTPUT:
            raise ConfigError(f"--from-node {from_node}: the latest run {latest.name} has no output of {node}; {advice}")
        for artifact in outputs.get(node, {}).values():
            if artifact.state != metadata_store_pb2.Artifact.LIVE:
                raise ConfigError(f"--from-node {from_node}: {artifact.uri}, output of {node}, is gone or incomplete; {advice}")


def outputs_of(store: mlmd.MetadataStore, run: metadata_store_pb2.Context) -> Outputs:
    """Returns node -> output -> its latest artifact in the run, cached and reused ones included."""
    outputs: Outputs = {}
    for execution in sorted(store.get_executions_by_context(run.id), key=lambda e: e.id):
        for key, artifact in _outputs_of_execution(store, execution.id):
            outputs.setdefault(_node_of(store, execution), {})[key] = artifact
    return outputs


def finished_nodes(store: mlmd.MetadataStore, run_id: str) -> set[str]:
    """Returns the nodes that have succeeded in a run, by work or from the cache; none if there is no such run."""
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    executions = store.get_executions_by_context(run.id) if run is not None else []
    return {_node_of(store, execution) for execution in executions if execution.last_known_state in _SUCCEEDED}


def _node_of(store: mlmd.MetadataStore, execution: metadata_store_pb2.Execution) -> str:
    contexts = store.get_contexts_by_execution(execution.id)
    return next(c.name for c in contexts if _type_name(store, c.type_id) == "node").rpartition(".")[2]


def input_of(store: mlmd.MetadataStore, artifact: metadata_store_pb2.Artifact, key: str) -> metadata_store_pb2.Artifact | None:
    """Returns what came in by `key` where an artifact was made, in this run or, from the cache, an earlier one; None if nothing."""
    makers = [e.execution_id for e in store.get_events_by_artifact_ids([artifact.id]) if e.type == metadata_store_pb2.Event.OUTPUT]
    events = store.get_events_by_execution_ids([min(makers)])
    found = [e.artifact_id for e in events if e.type == metadata_store_pb2.Event.INPUT and e.path.steps[0].key == key]
    return store.get_artifacts_by_id(found)[0] if found else None


def _outputs_of_execution(store: mlmd.MetadataStore, execution: int) -> Iterator[tuple[str, metadata_store_pb2.Artifact]]:
    events = [e for e in store.get_events_by_execution_ids([execution]) if e.type == metadata_store_pb2.Event.OUTPUT]
    artifacts = {a.id: a for a in store.get_artifacts_by_id([e.artifact_id for e in events])}
    for event in events:
        yield event.path.steps[0].key, artifacts[event.artifact_id]


def _type_name(store: mlmd.MetadataStore, type_id: int) -> str:
    return store.get_context_types_by_id([type_id])[0].name


def _loss(artifact: metadata_store_pb2.Artifact, sizes: dict[str, list[int]]) -> str | None:
    """What of an artifact is no longer there; None if nothing is known to be missing."""
    path = Path(artifact.uri)
    files, size = _size(path)
    # Folders alone hold no data.
    if not (path.exists() if artifact.type in _MAY_BE_EMPTY else files):
        return "is gone"
    before, bytes_before = sizes.get(artifact.uri, (0, 0))
    if files < before:
        return f"has {files} of its {before} files"
    if size < bytes_before:
        return f"has {size:,} of its {bytes_before:,} bytes"
    return None
