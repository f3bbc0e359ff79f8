import numpy as np
import pytest
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.utils import config_util

from components.evaluator.eval_config import eval_config
from components.evaluator.extractors import metric_columns, read_columns
from components.evaluator.map_at_k import MapAtK, _AveragePrecision
from schemas.config import EvaluateConfig
from schemas.errors import ConfigError, InputDataError


def test_slices_and_columns():
    config = eval_config(EvaluateConfig(slices=(("event_platform",), ("event_hour", "ads_per_display"))))
    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [[], ["event_platform"], ["event_hour", "ads_per_display"]]
    assert metric_columns(config) == {"display_id", "popularity"}
    assert read_columns(config) == {"display_id", "popularity", "label", "event_platform", "event_hour", "ads_per_display"}


def test_a_slice_that_is_there_twice_counts_once():
    config = eval_config(EvaluateConfig(slices=(("event_platform",), ("event_platform", "event_platform"), ("hour",))))
    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [[], ["event_platform"], ["hour"]]


@pytest.mark.parametrize("column", ["ad_id", "popularity", "label", "pop_ad_id"])
def test_slices_that_cut_displays_in_pieces_are_refused(column):
    with pytest.raises(ConfigError, match=f"{column} differs between the ads of a display"):
        eval_config(EvaluateConfig(slices=(("event_platform", column),)))


def test_slices_by_what_is_not_there_are_refused():
    with pytest.raises(ConfigError, match="no column 'event_plattform'; there are hour, ad_age, new_ad, new_user, and"):
        eval_config(EvaluateConfig(slices=(("event_plattform",),)))
    with pytest.raises(ConfigError, match="doc_event_topic_id has several values a display"):
        eval_config(EvaluateConfig(slices=(("doc_event_topic_id",),)))


@pytest.mark.parametrize("has_baseline", [False, True])
def test_what_tfx_makes_of_it(has_baseline):
    config = config_util.update_eval_config_with_defaults(
        eval_config(EvaluateConfig()), has_baseline=has_baseline, rubber_stamp=True
    )
    config_util.verify_eval_config(config)
    assert [spec.name for spec in config.model_specs] == (["candidate", "baseline"] if has_baseline else [""])
    names = {key.name for c in metric_specs.to_computations(config.metrics_specs, config) for key in c.keys}
    assert {"map_at_12", "map_at_12_random_displays", "map_at_12_popularity_displays_without_click", "auc", "gauc"} <= names


def test_there_are_no_thresholds():
    config = eval_config(EvaluateConfig())
    assert not metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, eval_config=config)


def test_the_metric_survives_its_configuration():
    metric = MapAtK(k=3, score_key="popularity", name="map_at_3")
    config = metric_specs.config_from_metric(metric)
    assert metric_specs._metric_config(config.config) == {"k": 3, "score_key": "popularity", "name": "map_at_3"}
    assert metric.get_config() == {"k": 3, "score_key": "popularity", "name": "map_at_3"}


def test_metric_errors():
    with pytest.raises(ValueError, match=r"k must be positive\. Received: 0"):
        MapAtK(k=0)
    with pytest.raises(ValueError, match="query_key"):
        MapAtK().computations(model_names=[""])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        pytest.param({"popularity": np.zeros(3)}, "display_id is missing", id="no row has the key"),
        pytest.param({"display_id": np.array([7, 7, 8])}, "display_id is missing", id="rows of several displays"),
        pytest.param({"display_id": np.array([7, 7, 7])}, r"display_id 7 has 3 rows, 3 labels and 0 scores", id="no scores"),
        pytest.param(
            {"display_id": np.array([7, 7, 7]), "popularity": np.zeros(2)}, "2 scores \\(popularity\\)", id="a row without score"
        ),
    ],
)
def test_rows_that_cannot_be_ranked(features, message):
    extracts = {"features": features, "labels": np.array([1, 0, 0]), "predictions": np.zeros(3)}
    with pytest.raises(InputDataError, match=message):
        list(_AveragePrecision(12, "popularity", "display_id", None, "", "").process(extracts))
