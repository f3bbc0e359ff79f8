"""Only the columns asked for are computed, from the tables that they need; and they are what they are among all others."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.synth import generate
from schemas.features import CTR_GROUPS, FEATURES
from tests.transforms.test_compute_features import compute
from transforms.base_rows import SPLIT
from transforms.wanted import all_columns, base_columns, ctr_groups, optional_tables

KEYS = ("display_id", "ad_id")
CLICKS = {"clicks_train", "events", "promoted_content"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wanted") / "log"
    generate(folder, displays=150, users=60, documents=80, ads=40, page_views=1500)
    return folder


@pytest.fixture(scope="module")
def everything(log: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return compute(log, tmp_path_factory.mktemp("all") / "work")[0]


@pytest.mark.parametrize(
    ("columns", "tables"),
    [
        (("label",), set()),
        (("popularity",), set()),
        (("ad_views", "pop_source_id_country_conf"), {"documents_meta"}),
        (("event_hour", "event_weekend", "doc_ad_days_since_published"), {"documents_meta"}),
        (("user_views", "uuid"), {"page_views"}),
        (("traffic_source",), {"page_views"}),
        (("user_has_already_viewed_doc", "event_geo_location"), {"page_views"}),
        (("user_doc_ad_sim_topics_conf",), {"page_views", "documents_meta", "documents_topics"}),
        (("doc_event_doc_ad_sim_entities", "doc_event_entity_id"), {"documents_meta", "documents_entities"}),
        (("doc_event_doc_ad_sim_latent",), {"documents_meta", "documents_topics", "documents_categories"}),
        (("user_doc_ad_sim_latent",), {"page_views", "documents_meta", "documents_topics", "documents_categories"}),
        (("pop_category_id_country",), {"documents_categories"}),
    ],
)
def test_some_columns_are_what_they_are_among_all(log, everything, tmp_path, columns, tables):
    rows, _, counts = compute(log, tmp_path / "work", columns=(*KEYS, *columns))
    names = [name for name in everything.column_names if name in {*KEYS, *columns, SPLIT}]
    assert rows.equals(everything.select(names))
    assert {name.removeprefix("rows/") for name in counts if name.startswith("rows/")} == CLICKS | tables


def test_every_ctr_group_is_found_by_each_of_its_columns():
    for index, group in enumerate(CTR_GROUPS):
        names = [group.feature, f"{group.feature}_conf", f"{group.feature}_conf_multipl", *filter(None, [group.views_feature])]
        for name in names:
            assert ctr_groups({name}) == [(index, group)]
            assert base_columns({name}) == {name, *group.key}
    assert [group for _, group in ctr_groups(all_columns())] == list(CTR_GROUPS)
    assert [group.feature for _, group in ctr_groups({"popularity"})] == ["pop_ad_id"]


def test_columns_without_optional_tables_need_none():
    assert optional_tables({"label", "ad_id", "pop_ad_id"}) == set()
    assert optional_tables(all_columns()) == {role for feature in FEATURES for role in feature.tables}
