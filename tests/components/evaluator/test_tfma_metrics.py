"""TFMA's own metrics, where their definitions are ours: no ties, a click in every display. It has no MAP@k or MRR of this kind."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.judge import Plan, judge
from components.evaluator.tfma_results import metrics
from tests.rows import random_rows

CONFIG = """
  model_specs { label_key: "label" prediction_key: "prediction" }
  slicing_specs {}
  metrics_specs { query_key: "display_id" metrics { class_name: "NDCG" config: '"gain_key": "label", "top_k_list": [12]' } }
  metrics_specs {
    metrics { class_name: "BinaryCrossentropy" }
    metrics { class_name: "Calibration" }
    metrics { class_name: "AUC" }
    metrics { class_name: "ExampleCount" }
  }
"""


def test_ours_are_tfmas():
    rows = random_rows(80, seed=1, missing=0).select(["display_id", "ad_id", "label", "popularity"])
    score = np.random.default_rng(0).permutation(rows.num_rows) / rows.num_rows
    (_, found), *_ = metrics(
        judge(rows.append_column("score/", pa.array(score)), Plan(("",), None, (), ()))[0], Plan(("",), None, (), ())
    )
    ours = {key.name: value for key, value in found.items()}
    frame = pd.DataFrame({name: rows[name].to_numpy() for name in ("display_id", "label")} | {"prediction": score})
    result = model_eval_lib.analyze_raw_data(frame, text_format.Parse(CONFIG, config_pb2.EvalConfig()))
    (_, by_output), *_ = result.slicing_metrics
    theirs = {name: value["doubleValue"] for by_name in by_output[""].values() for name, value in by_name.items()}
    assert ours["ndcg_at_12"] == pytest.approx(theirs["ndcg"], rel=1e-9)
    assert ours["calibration"] == pytest.approx(theirs["calibration"], rel=1e-9)
    assert ours["log_loss"] == pytest.approx(theirs["binary_crossentropy"], rel=1e-5)  # Keras computes in float32
    assert ours["auc"] == pytest.approx(theirs["auc"], abs=2e-3)  # other bins
    assert ours["example_count"] == theirs["example_count"]
