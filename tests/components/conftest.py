import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

from types import SimpleNamespace

import pytest

from schemas import features
from tests.prebatched import run_prebatch
from tests.rows import random_rows

# Few features, of every kind, and small tables: graphs are built in a second.
KEPT = (
    *(
        "doc_event_id",
        "event_country",
        "event_platform",
        "event_weekend",
        "ad_id",
        "doc_ad_topic_id",
        "doc_views",
        "pop_document_id",
    ),
    *("pop_ad_id", "ad_views", "pop_advertiser_id", "pop_campaign_id", "doc_ad_days_since_published"),
)
ENCODING = {"max_buckets": 50, "drop": [f.name for f in features.FEATURES if f.is_input and f.name not in KEPT]}
MODEL = {"hidden_units": [16, 8], "max_embedding_dim": 4}
TRAINER = {
    "global_batch_size": 128,
    "num_epochs": 4,
    "losses": [{"name": "sigmoid_cross_entropy"}],
    "wide_optimizer": {"name": "ftrl", "learning_rate": 0.2},
    "deep_optimizer": {"name": "adam", "learning_rate": 0.01},
}


@pytest.fixture(scope="session")
def transformed(tmp_path_factory):
    """A folder with train/, eval/, tft/ and records/."""
    out = tmp_path_factory.mktemp("transformed")
    run_prebatch({"train": random_rows(500, seed=0), "eval": random_rows(300, seed=1)}, out, ENCODING)
    return out


@pytest.fixture(scope="session")
def make_fn_args(transformed):
    """A function that makes the FnArgs of a run, with changes to the configuration's sub-trees."""

    def make(out, *, train="Split-train/*", evaluate="Split-eval/*", encoding=None, model=None, trainer=None):
        return SimpleNamespace(
            train_files=[str(transformed / "records" / train)],
            eval_files=[str(transformed / "records" / evaluate)],
            transform_output=str(transformed / "tft"),
            serving_model_dir=str(out / "serving"),
            model_run_dir=str(out / "run"),
            base_model=None,
            custom_config={
                "encoding": {**ENCODING, **(encoding or {})},
                "model": {**MODEL, **(model or {})},
                "trainer": {**TRAINER, **(trainer or {})},
                "features": {"delay_ms": 60_000},
                "checkpoints": str(out / "checkpoints"),
                "code": "digest",
            },
        )

    return make
