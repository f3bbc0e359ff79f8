"""Runs the pipeline on this machine, by TFX's BeamDagRunner or LocalDagRunner as they are, and watches its nodes."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from unittest import mock

from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.local import runner_utils
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

from pipeline.nodes import NEVER_CACHED
from schemas.beam import LOCAL_BEAM_RUNNER

RunnerName = Literal["beam", "local"]
_RUNNERS: dict[str, Any] = {"beam": BeamDagRunner, "local": LocalDagRunner}


class NodeWatcher(Protocol):
    """Is told what the nodes do."""

    def started(self, node_id: str) -> None:
        """The node begins."""

    def finished(self, node_id: str, seconds: float, cached: bool) -> None:
        """The node is done, `cached` if TFX had its outputs from an earlier run."""

    def failed(self, node_id: str, seconds: float, error: BaseException) -> None:
        """The node raised `error`; the run ends."""


@dataclass
class Failure:
    """The node that failed, if one did, and the exception as it was raised (runners turn it into text)."""

    node_id: str = ""
    error: BaseException | None = field(default=None)


def run_pipeline(
    pipeline: tfx_pipeline.Pipeline, run_id: str, runner: RunnerName, watcher: NodeWatcher, from_node: str | None = None
) -> Failure | None:
    """Runs all nodes, or those from `from_node` on with the outputs of the latest run before it.

    Args:
        pipeline: The pipeline.
        run_id: Name of the run in the metadata store.
        runner: `beam` or `local`.
        watcher: Is told of every node.
        from_node: Id of the first node to run.

    Returns:
        None if every node succeeded, else the failure.
    """
    graph = compile_graph(pipeline, run_id)
    options = None
    if from_node:
        options = pipeline_pb2.RunOptions()
        options.partial_run.from_nodes.append(from_node)
        options.partial_run.snapshot_settings.latest_pipeline_run_strategy.SetInParent()
    failure = Failure()
    with _watched(watcher, failure), _orchestrator_flags():
        try:
            _RUNNERS[runner]().run_with_ir(graph, run_options=options)
        except Exception as error:
            if failure.error is None:
                failure.error = error
    return failure if failure.error is not None else None


def compile_graph(pipeline: tfx_pipeline.Pipeline, run_id: str) -> pipeline_pb2.Pipeline:
    """Returns TFX's intermediate representation of the pipeline for one run."""
    graph = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(graph, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    for node in graph.nodes:
        if node.pipeline_node.node_info.id in NEVER_CACHED:
            node.pipeline_node.execution_options.caching_options.enable_cache = False
    return graph


def upstream_nodes(graph: pipeline_pb2.Pipeline) -> dict[str, tuple[str, ...]]:
    """Returns node -> the nodes that must have succeeded before it, both in the order of the graph."""
    nodes = [node.pipeline_node for node in graph.nodes]
    ids = [node.node_info.id for node in nodes]
    return {node.node_info.id: tuple(sorted(node.upstream_nodes, key=ids.index)) for node in nodes}


def run_node(graph: pipeline_pb2.Pipeline, node_id: str, watcher: NodeWatcher) -> Failure | None:
    """Runs one node as the runners do, with the outputs that the nodes before it have left in the metadata store for this run.

    Args:
        graph: From `compile_graph`; the nodes before it have succeeded in its run.
        node_id: The node.
        watcher: Is told of it.

    Returns:
        None if it succeeded, else the failure.
    """
    deployment = runner_utils.extract_local_deployment_config(graph)
    stores = deployment.metadata_connection_config
    node = next(node.pipeline_node for node in graph.nodes if node.pipeline_node.node_info.id == node_id)
    failure = Failure()
    with _watched(watcher, failure), _orchestrator_flags():
        try:
            launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(getattr(stores, stores.WhichOneof("connection_config"))),
                pipeline_info=graph.pipeline_info,
                pipeline_runtime_spec=graph.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
            ).launch()
        except Exception as error:
            if failure.error is None:
                failure.error = error
    return failure if failure.error is not None else None


@contextmanager
def _watched(watcher: NodeWatcher, failure: Failure) -> Iterator[None]:
    """Puts a launcher that reports in the place of TFX's: both runners launch every node through it, and offer no other hook."""

    class WatchedLauncher(launcher.Launcher):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # The cache's key has it. Beam's flags have reached the executor by now; they say where work is done, not which.
            if isinstance(self._executor_spec, executable_spec_pb2.BeamExecutableSpec):
                self._executor_spec = executable_spec_pb2.BeamExecutableSpec(
                    python_executor_spec=self._executor_spec.python_executor_spec
                )

        def _prepare_execution(self) -> Any:
            prepared = super()._prepare_execution()
            self.cached = not prepared.is_execution_needed
            return prepared

        def launch(self) -> Any:
            node_id, start = self._pipeline_node.node_info.id, time.monotonic()
            self.cached = False
            watcher.started(node_id)
            try:
                result = super().launch()
            except BaseException as error:
                failure.node_id, failure.error = node_id, error
                watcher.failed(node_id, time.monotonic() - start, error)
                raise
            watcher.finished(node_id, time.monotonic() - start, self.cached)
            return result

    with mock.patch.object(launcher, "Launcher", WatchedLauncher):
        yield


@contextmanager
def _orchestrator_flags() -> Iterator[None]:
    """BeamDagRunner takes the flags of its own Beam pipeline from the command line; without one, Beam tries a download first."""
    with mock.patch.object(sys, "argv", [sys.argv[0], f"--runner={LOCAL_BEAM_RUNNER}"]):
        yield
