"""The importance of a run's features, measured on some of its eval displays and kept in the run's folder."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.utils import path_utils

from components.importance import Sample, Score, group_features, permutation_importance
from components.trainer.input import Records, open_records
from components.trainer.model import build_model
from components.trainer.warm_start import warm_start
from pipeline.paths import RootPaths
from pipeline.report import content
from pipeline.report.artifacts import NotThereError, RunArtifacts
from pipeline.report.estimates import mean_estimate
from pipeline.report.sources import report_config
from pipeline.siblings import write_whole
from schemas import progress
from schemas.config import EncodingConfig, ModelConfig, TrainerConfig
from schemas.features import Feature
from schemas.records import LABEL, record_layout

_log = logging.getLogger(__name__)

KEPT = "importance.json"
STAGE = "importance"
_SEED = 0


def importance_of(paths: RootPaths, run: RunArtifacts, config: Mapping[str, Any]) -> content.Importance:
    """Returns the importance of a run's features: what is kept of an earlier time, else measures it.

    Args:
        paths: The root.
        run: The run; its model and its records are read.
        config: Its configuration.

    Raises:
        NotThereError: It is switched off, or the run has no model or no records.
    """
    report = report_config(config)
    if not report.importance_displays:
        raise NotThereError("It was not measured: `report.importance_displays` is 0.")
    model_dir, records = run.folder("Trainer", "model"), run.folder("Prebatch", "records")
    model_id = run.outputs["Trainer"]["model"].id
    asked = {"model": model_id, "displays": report.importance_displays, "repeats": report.importance_repeats, "seed": _SEED}
    kept = paths.run(run.run_id) / KEPT
    found = _read(kept, asked)
    if found is None:
        found = _measure(model_dir, records, config, report.importance_displays, report.importance_repeats)
        try:
            write_whole(kept, json.dumps({"asked": asked, "found": asdict(found)}, indent=1) + "\n")
        except OSError as error:
            _log.info("%s cannot be kept: %s", kept, error)
    return found


def _read(path: Path, asked: Mapping[str, Any]) -> content.Importance | None:
    try:
        kept = json.loads(path.read_text())
        if kept["asked"] != asked:
            return None
        groups = tuple(
            content.Group(g["name"], tuple(g["features"]), content.Estimate(**g["drop"])) for g in kept["found"].pop("groups")
        )
        return content.Importance(groups=groups, **kept["found"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _measure(model_dir: Path, records_dir: Path, config: Mapping[str, Any], displays: int, repeats: int) -> content.Importance:
    encoding = EncodingConfig.model_validate(config.get("encoding", {}))
    model_config = ModelConfig.model_validate(config.get("model", {}))
    inputs = encoding.inputs(model_config.max_embedding_dim)
    records = open_records("eval", str(records_dir / "Split-eval"), record_layout(inputs))
    sample = read_sample(records, displays)
    score = load_scorer(path_utils.serving_model_path(str(model_dir)), inputs, model_config)
    groups = group_features(inputs)
    progress.report(STAGE, 0, len(groups))
    found = []
    for done, (group, falls) in enumerate(permutation_importance(sample, score, groups, repeats, _SEED), 1):
        estimate = mean_estimate(falls)
        if estimate is None:
            raise NotThereError("No eval display of the sample has a click to judge by.")
        found.append(content.Group(group.name, group.features, estimate))
        progress.report(STAGE, done, len(groups))
    found.sort(key=lambda group: -group.drop.value)
    return content.Importance(tuple(found), len(sample.sizes), records.manifest.displays, repeats, _map(sample, score))


def _map(sample: Sample, score: Score) -> float:
    from components.evaluator.average_precision import mean_average_precision

    display = np.repeat(np.arange(len(sample.sizes)), sample.sizes)
    return mean_average_precision(display, score(sample.columns), sample.labels).value


def read_sample(records: Records, displays: int) -> Sample:
    """Reads the first displays of a split's records, or all.

    Records hold displays in the order of a hash, so the first ones are a sample that does not depend on what is in them.
    """
    parts, left = [], displays
    for record in records.read():
        sizes = record.sizes[:left].astype(np.int64)
        rows = int(sizes.sum())
        parts.append(({name: values[:rows] for name, values in record.columns.items()}, sizes))
        left -= len(sizes)
        if not left:
            break
    columns = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    labels = columns.pop(LABEL)
    return Sample(columns, labels, np.concatenate([sizes for _, sizes in parts]))


def load_scorer(saved_model: str, inputs: tuple[Feature, ...], config: ModelConfig) -> Score:
    """Builds the model anew with the weights of its export, which by itself takes raw tf.Examples only.

    Raises:
        ConfigError: The export is of another model.
        InputDataError: It is damaged.
    """
    model = build_model(inputs, config)
    warm_start(model, saved_model, TrainerConfig())
    numbers = {feature.name for feature in inputs if feature.kind == "numeric"}

    @tf.function(autograph=False)
    def logits(columns: dict[str, tf.Tensor]) -> tf.Tensor:
        return model(columns, training=False)

    def score(columns: Mapping[str, np.ndarray]) -> np.ndarray:
        tensors = {name: tf.cast(values, tf.float32 if name in numbers else tf.int32) for name, values in columns.items()}
        return logits(tensors).numpy()

    return score
