"""The names of the metrics in an evaluation, and of what they are computed from."""

MAP_AT_12 = "map_at_12"
MAP_AT_12_RANDOM = "map_at_12_random"
MAP_AT_12_POPULARITY = "map_at_12_popularity"
MRR, NDCG_AT_12, GAUC = "mrr", "ndcg_at_12", "gauc"
EXAMPLE_COUNT, LOG_LOSS, CALIBRATION, AUC = "example_count", "log_loss", "calibration", "auc"

QUERY_KEY = "display_id"
LABEL_KEY = "label"
SIGNATURE = "serving_default"
PREDICTION_KEY = "score"
CANDIDATE, BASELINE = "candidate", "baseline"

_OF_FEATURE = "map_at_12_of_feature/"


def displays_key(name: str) -> str:
    """Name of the metric that counts the displays over which the metric `name` is the mean."""
    return f"{name}_displays"


def displays_without_click_key(name: str) -> str:
    """Name of the metric that counts the displays that the metric `name` left out because nothing was clicked."""
    return f"{name}_displays_without_click"


def of_feature_key(feature: str) -> str:
    """Name of the metric that is the MAP@12 of a feature alone."""
    return f"{_OF_FEATURE}{feature}"


def feature_of_key(name: str) -> str | None:
    """The feature whose MAP@12 alone the metric `name` is; None if it is another metric."""
    return name.removeprefix(_OF_FEATURE) if name.startswith(_OF_FEATURE) else None
