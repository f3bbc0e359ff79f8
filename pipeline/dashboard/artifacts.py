"""What the notebook shows of a run, in the types that TFMA's and TFDV's widgets take."""

from functools import cached_property
from pathlib import Path
from typing import Any

# TFX before TFDV, which it breaks if it comes second; the metadata store's module comes with the former.
from tfx import v1 as tfx  # noqa: F401 isort:skip
import pandas as pd
import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.evaluator.eval_config import CANDIDATE
from pipeline.connection import open_store
from pipeline.paths import RootPaths
from pipeline.report.artifacts import NotThereError, RunArtifacts
from pipeline.report.statistics import distances, read_split


class DashboardRun:
    """A finished run.

    Args:
        root: The root folder.
        run_id: The run.

    Raises:
        NotThereError: The metadata store does not know the run.
    """

    def __init__(self, root: str, run_id: str):
        self._paths = RootPaths(Path(root))
        self._run = RunArtifacts(open_store(self._paths, read_only=True), self._paths, run_id)

    @cached_property
    def evaluation(self) -> Any:
        """The `tfma.EvalResult` of the run's model."""
        return _load(self._run)

    @property
    def slices(self) -> list[str]:
        """The columns that the evaluation is sliced by; of crossed ones there is no widget."""
        return sorted({key[0][0] for key, _ in self.evaluation.slicing_metrics if len(key) == 1})

    @property
    def has_plots(self) -> bool:
        """Whether the evaluation has plots, such as that of calibration."""
        return any(plots for _, plots in self.evaluation.plots)

    def evaluations(self) -> Any:
        """The `tfma.EvalResults` of all runs of the root that have one, the oldest first; once where the cache served it again."""
        found: dict[Path, Any] = {}
        for folder in sorted(self._paths.runs.glob("*/")):
            try:
                run = RunArtifacts(open_store(self._paths, read_only=True), self._paths, folder.name)
                place = run.folder("Evaluator", "evaluation")
                found[place] = found.get(place) or _load(run)
            except (NotThereError, OSError):
                continue  # it did not get that far, or its files are gone
        return tfma.make_eval_results(list(found.values()), tfma.MODEL_CENTRIC_MODE)

    def statistics(self, split: str) -> Any:
        """TFDV's statistics of a split, `train` or `eval`."""
        return read_split(self._run.folder("StatisticsGen", "statistics"), split)

    def anomalies(self, split: str) -> Any:
        """What ExampleValidator found in a split."""
        folder = self._run.folder("ExampleValidator", "anomalies")
        return anomalies_pb2.Anomalies.FromString((folder / f"Split-{split}" / "SchemaDiff.pb").read_bytes())

    def blessed_statistics(self) -> Any:
        """Statistics of the train split of the run whose model was blessed before; None if there was none."""
        before = self._run.blessed_before
        return None if before is None else read_split(before.folder("StatisticsGen", "statistics"), "train")

    def drift(self) -> pd.DataFrame:
        """How far each feature of the train split is from what the blessed run had; empty if there was none.

        TFDV's own measures: L-infinity for texts, Jensen-Shannon divergence for numbers.
        """
        before = self.blessed_statistics()
        moved = {} if before is None else distances(self.statistics("train"), before)
        table = pd.DataFrame({"feature": list(moved), "distance": list(moved.values())})
        return table.sort_values("distance", ascending=False, ignore_index=True)


def _load(run: RunArtifacts) -> Any:
    folder = str(run.folder("Evaluator", "evaluation"))
    # Without a blessed model, TFX leaves one model in the configuration, and TFMA wants its name all the same.
    return tfma.load_eval_result(folder, model_name=CANDIDATE)
