"""The evaluation as parts of a TFMA pipeline: TFMA's extractors run the models and TFMA's writers write, ours is what is between.

TFMA's own evaluator takes every row through Python many times. Here rows travel as columns. A stable hash of the display puts all
rows of a display into one partition, `components.evaluator.judge` computes sums for a whole partition at once, and the sums of the
partitions are added up. The result has TFMA's form, so its writers, readers and views know no difference.

    tfma.ExtractEvaluateAndWriteResults(
        ..., extractors=extractors(...), evaluators=[evaluator(...)], writers=[*tfma.writers, displays_writer(...)])
"""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.evaluators import evaluator as tfma_evaluator
from tensorflow_model_analysis.extractors import extractor, predictions_extractor
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import writer

from components.evaluator import tfma_results
from components.evaluator.columns import RANKED_BY, read_batch, table_types, to_table
from components.evaluator.displays import displays_schema, write_displays
from components.evaluator.judge import Plan, judge
from components.evaluator.names import QUERY_KEY
from components.evaluator.tally import Tally, add_up
from transforms.partition import Parcel, partition_of, receive, scatter, ship

DISPLAYS_KEY = "displays"
"""The evaluation's output that holds the table of displays, in parts."""

_ROWS_TO_SCATTER = 1 << 16
_NO_ROWS = b""


def plan_of(eval_config: config_pb2.EvalConfig) -> Plan:
    """Returns what an evaluation under that configuration computes; model names are those that TFMA gives predictions."""
    specs = eval_config.model_specs
    return Plan(
        models=tuple(spec.name for spec in specs) if len(specs) > 1 else ("",),
        baseline=next((spec.name for spec in specs if spec.is_baseline), None),
        slices=tuple(tuple(spec.feature_keys) for spec in eval_config.slicing_specs if spec.feature_keys),
        features=RANKED_BY,
    )


def extractors(
    eval_config: config_pb2.EvalConfig, eval_shared_model: types.MaybeMultipleEvalSharedModels
) -> list[extractor.Extractor]:
    """Returns extractors from batches of tf.Examples to the columns that are read, under tfma.FEATURES_KEY, and predictions."""
    return [
        extractor.Extractor("ReadColumns", beam.Map(_read_columns, table_types(plan_of(eval_config)))),
        predictions_extractor.PredictionsExtractor(eval_config=eval_config, eval_shared_model=eval_shared_model),
    ]


def _read_columns(extracts: types.Extracts, names: dict[str, pa.DataType]) -> types.Extracts:
    batch = extracts[constants.ARROW_RECORD_BATCH_KEY]
    examples = batch.column(batch.schema.get_field_index(constants.ARROW_INPUT_COLUMN))
    return {constants.INPUT_KEY: np.asarray(examples.flatten()), constants.FEATURES_KEY: read_batch(batch, names)}


def evaluator(eval_config: config_pb2.EvalConfig, partitions: int, folder: str) -> tfma_evaluator.Evaluator:
    """Returns the evaluator.

    Args:
        eval_config: Models and slices; its metrics are what TFMA would compute, and here are computed anyway.
        partitions: How many parts of displays there are; a part must fit into a worker's memory.
        folder: Where rows wait between stages; all workers reach it.
    """
    return tfma_evaluator.Evaluator(
        stage_name="EvaluateDisplays",
        run_after=extractor.LAST_EXTRACTOR_STAGE_NAME,
        ptransform=_EvaluateDisplays(plan_of(eval_config), partitions, folder),
    )


def displays_writer(evaluation: str, partitions: int) -> writer.Writer:
    """Returns what writes the table of displays into the folder of an `evaluation` artifact."""

    def write(part: tuple[int, Parcel]) -> None:
        write_displays(receive(part[1]), evaluation, part[0], partitions)

    return writer.Writer("WriteDisplays", writer.Write(DISPLAYS_KEY, "Write" >> beam.Map(write)))


class _EvaluateDisplays(beam.PTransform):
    """Extracts -> metrics, plots, displays."""

    def __init__(self, plan: Plan, partitions: int, folder: str):
        super().__init__()
        self._plan, self._partitions, self._folder = plan, partitions, folder

    def expand(self, pcoll: beam.PCollection) -> tfma_evaluator.Evaluation:
        rows = pcoll | "Scatter" >> beam.ParDo(_Scatter(self._plan, self._partitions, self._folder))
        every = pcoll.pipeline | "EveryPartition" >> beam.Create([(number, _NO_ROWS) for number in range(self._partitions)])
        judged = (
            (rows, every)
            | "Flatten" >> beam.Flatten()
            | "Meet" >> beam.GroupByKey()
            | "Judge" >> beam.FlatMap(_judge, self._plan, self._folder).with_outputs(DISPLAYS_KEY, main="tallies")
        )
        whole = judged["tallies"] | "ToOne" >> beam.GroupBy(lambda _: 0) | "AddUp" >> beam.Map(_add_up)
        return {
            constants.METRICS_KEY: whole | "Metrics" >> beam.FlatMap(tfma_results.metrics, self._plan),
            constants.PLOTS_KEY: whole | "Plots" >> beam.FlatMap(tfma_results.plots, self._plan),
            DISPLAYS_KEY: judged[DISPLAYS_KEY],
        }


class _Scatter(beam.DoFn):
    """Batches of extracts -> (partition, packed rows), of many batches at once."""

    def __init__(self, plan: Plan, partitions: int, folder: str):
        self._plan, self._partitions, self._folder = plan, partitions, folder
        self._waiting: list[pa.Table] = []

    def start_bundle(self) -> None:
        self._waiting = []

    def process(self, extracts: types.Extracts) -> Iterator[tuple[int, Parcel]]:
        predictions = extracts[constants.PREDICTIONS_KEY]
        scores = predictions if len(self._plan.models) > 1 else {self._plan.models[0]: predictions}
        self._waiting.append(to_table(extracts[constants.FEATURES_KEY], scores, self._plan))
        if sum(rows.num_rows for rows in self._waiting) >= _ROWS_TO_SCATTER:
            yield from self._scatter()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in self._scatter():
            yield WindowedValue(part, GlobalWindow().max_timestamp(), (GlobalWindow(),))

    def _scatter(self) -> Iterator[tuple[int, Parcel]]:
        if self._waiting:
            rows = pa.concat_tables(self._waiting)
            self._waiting = []
            numbers = partition_of(rows[QUERY_KEY].to_numpy(), self._partitions)
            for number, part in scatter(rows, numbers):
                yield number, ship(part, self._folder)


def _judge(element: tuple[int, Iterable[Parcel]], plan: Plan, folder: str) -> Iterator[Any]:
    number, parcels = element
    tables = [receive(parcel) for parcel in parcels if parcel != _NO_ROWS]
    displays = displays_schema(plan.slice_columns, plan.baseline is not None).empty_table()
    if tables:
        sums, displays = judge(pa.concat_tables(tables), plan)
        yield number, sums
    yield beam.pvalue.TaggedOutput(DISPLAYS_KEY, (number, ship(displays, folder)))


def _add_up(element: tuple[int, Iterable[tuple[int, Tally]]]) -> Tally:
    return add_up([sums for _, sums in sorted(element[1], key=lambda part: part[0])])
