"""The twin itself, checked by hand on logs of a few rows."""

import math

import pytest

from schemas.config import FeaturesConfig, SplitConfig
from schemas.features import CTR_GROUPS, columns
from tests.brute_force import EVAL, NEITHER, SPLIT, TRAIN, features_of
from tests.tables import DAY, write_table

HOUR = DAY // 24
CONTEXT = (1, "US>CA>803")  # platform, geo_location
LN2 = math.log(2)

# Day 0 trains, day 11 evaluates. The log starts on Tuesday 2016-06-14 03:59:59.998 UTC, which is 20:59:59.998 the day before in
# California.
LOG = {
    "clicks_train": [(1, 10, 1), (1, 11, 0), (2, 10, 0), (2, 12, 1), (3, 10, 1), (3, 11, 0), (3, 12, 0), (4, 10, 0), (4, 11, 1)],
    "events": [
        (1, "u", 100, 1000, *CONTEXT),
        (2, "v", 100, 2000, *CONTEXT),
        (3, "u", 101, 3000, *CONTEXT),
        (4, "u", 200, 11 * DAY, *CONTEXT),
    ],
    "promoted_content": [(10, 200, 5, 7), (11, 201, 5, 7), (12, 200, 6, 8)],
    "documents_meta": [(100, 1, 1, None), (101, 1, None, None), (200, 2, 2, None), (201, None, None, None)],
    "documents_categories": [(200, 1, 0.5), (200, 2, 0.25), (201, 2, 0.75)],
    "documents_topics": [(200, 1, 0.5), (201, 2, 0.5)],
    "documents_entities": [],
    "page_views": [],
}


@pytest.fixture
def row(tmp_path):
    """Returns the function that computes one row of `LOG` with some of its tables replaced."""

    def compute(display, ad, config=None, **tables):
        for role, content in {**LOG, **tables}.items():
            if content is not None:
                write_table(tmp_path, role, content)
        rows = features_of(tmp_path, config or FeaturesConfig(), SplitConfig())
        (found,) = [r for r in rows if (r["display_id"], r["ad_id"]) == (display, ad)]
        return found

    return compute


def settings(threshold=0, **more):
    """Every CTR from more than `threshold` views on, without prior; full confidence from 3 views on, so that log2(1 + C) is 2."""
    thresholds = {group.feature: threshold for group in CTR_GROUPS}
    return FeaturesConfig(**{"ctr_min_views": thresholds, "ctr_prior_views": 0, "ctr_full_confidence_views": 3} | more)


def value_conf_product(row, stem):
    return [row[stem + suffix] for suffix in ("", "_conf", "_conf_multipl")]


def test_every_column_of_every_valid_click_in_order(tmp_path):
    for role, content in LOG.items():
        write_table(tmp_path, role, content)
    clicks = [*reversed(LOG["clicks_train"]), (9, 10, 1), (3, -1, 0), (3, "", 0), (3, 13, 2), (3,)]
    write_table(tmp_path, "clicks_train", clicks)
    rows = features_of(tmp_path, FeaturesConfig(), SplitConfig())
    assert [(r["display_id"], r["ad_id"], r["label"]) for r in rows] == LOG["clicks_train"]
    assert {tuple(r) for r in rows} == {(*columns(), SPLIT)}
    assert [r["ads_per_display"] for r in rows] == [2] * 4 + [3] * 3 + [2] * 2


@pytest.mark.parametrize(
    ("time", "split"), [(0, TRAIN), (11 * DAY - 1, TRAIN), (11 * DAY, EVAL), (13 * DAY - 1, EVAL), (13 * DAY, NEITHER)]
)
def test_split_by_day(row, time, split):
    assert row(1, 10, events=[(1, "u", 100, time, *CONTEXT)])[SPLIT] == split


def test_ids(row):
    found = row(1, 10)
    assert (found["doc_event_id"], found["doc_event_source_id"], found["doc_event_publisher_id"]) == (100, 1, 1)
    assert (found["doc_id"], found["doc_ad_source_id"], found["doc_ad_publisher_id"]) == (200, 2, 2)
    assert (found["ad_campaign"], found["ad_advertiser"]) == (5, 7)


def test_what_an_unknown_ad_lacks(row):
    found = row(1, 10, settings(), promoted_content=[(11, 201, 5, 7)], page_views=[("u", 200, 0, *CONTEXT, 1)])
    known = {"doc_id", "ad_campaign", "ad_advertiser", "user_has_already_viewed_doc", "user_doc_ad_sim_topics", "pop_topic_id"}
    assert {found[name] for name in known} == {None}
    assert found["doc_ad_topic_id"] is None
    assert found["user_views"] == 1


@pytest.mark.parametrize(
    ("geo", "expected"),
    [
        ("US>CA>803", ("US", "US>CA", "US>CA>803")),
        ("GB>A8", ("GB", "GB>A8", "GB>A8")),
        (" GB ", ("GB", "GB", " GB ")),
        ("  ", (None, None, "  ")),
        (None, (None, None, None)),
    ],
)
def test_place(row, geo, expected):
    found = row(1, 10, events=[(1, "u", 100, 1000, 1, geo)])
    assert tuple(found[name] for name in ("event_country", "event_country_state", "event_geo_location")) == expected
    assert (found["event_hour"] is None) == (expected[0] is None)


@pytest.mark.parametrize(
    ("geo", "time", "hour", "weekend"),
    [
        ("US>CA", 1, 4, 0),  # Monday 20:59:59.999
        ("US>CA", HOUR + 2, 5, 0),  # Monday 22:00
        ("US>NY", 2, 5, 0),  # Tuesday 00:00
        ("US>NY", 5 * HOUR + 1, 5, 0),  # 04:59:59.999
        ("US>NY", 5 * HOUR + 2, 0, 0),
        ("US>NY", 8 * HOUR + 2, 1, 0),
        ("US>NY", 11 * HOUR + 2, 2, 0),
        ("US>NY", 14 * HOUR + 2, 3, 0),
        ("US>NY", 19 * HOUR + 1, 3, 0),
        ("US>NY", 19 * HOUR + 2, 4, 0),
        ("US>NY", 4 * DAY + 1, 5, 0),  # Friday 23:59:59.999
        ("US>NY", 4 * DAY + 2, 5, 1),
        ("US>NY", 6 * DAY + 1, 5, 1),
        ("US>NY", 6 * DAY + 2, 5, 0),  # Monday 00:00
        ("GB", 3 * DAY + 19 * HOUR + 2, 5, 1),  # Friday 23:00 UTC is Saturday 00:00 in a British summer
        (None, 1, None, None),
    ],
)
def test_local_time(row, geo, time, hour, weekend):
    found = row(1, 10, events=[(1, "u", 100, time, 1, geo)])
    assert (found["event_hour"], found["doc_event_hour"], found["event_weekend"]) == (hour, hour, weekend)


@pytest.mark.parametrize(("platform", "expected"), [(1, 0), (3, 2), (None, None)])
def test_platform(row, platform, expected):
    assert row(1, 10, events=[(1, "u", 100, 1000, platform, "US")])["event_platform"] == expected


@pytest.mark.parametrize(
    ("published", "days"),
    [
        ("2016-06-14 04:00:00", 0),  # the moment itself
        ("2016-06-14 04:00:01", None),
        ("2016-06-13 04:00:00", 1),
        ("2016-06-13 04:00:01", 0),
        ("2006-06-17 04:00:00", 3650),
        ("2006-06-16 04:00:00", None),
        (None, None),
    ],
)
def test_age_of_documents(row, published, days):
    events = [(1, "u", 100, 2, *CONTEXT)]  # 2016-06-14 04:00:00
    found = row(1, 10, events=events, documents_meta=[(100, 1, 1, published), (200, 1, 1, published)])
    assert found["doc_event_days_since_published"] == days
    assert found["doc_ad_days_since_published"] == days


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ([("u", 100, 999, *CONTEXT, 2)], 1),
        ([("u", 100, 1000, *CONTEXT, 3)], 2),
        ([("u", 100, 1001, *CONTEXT, 3)], None),
        ([("u", 100, 1, *CONTEXT, 3), ("u", 100, 2, *CONTEXT, 1)], 0),
        ([("u", 100, 2, *CONTEXT, 1), ("u", 100, 2, *CONTEXT, 3), ("u", 100, 2, *CONTEXT, 2)], 2),
        ([("u", 100, 1, *CONTEXT, 3), ("u", 100, 2, *CONTEXT, None)], 2),
        (
            [("v", 100, 1, *CONTEXT, 1), ("u", 101, 1, *CONTEXT, 1), ("u", 100, 1, 2, "US>CA>803", 1), ("u", 100, 1, 1, "US", 1)],
            None,
        ),
        ([("u", 100, 1, None, "US>CA>803", 1), ("u", 100, 1, 1, None, 1)], None),
        ([], None),
    ],
    ids=[
        "before",
        "same moment",
        "after",
        "latest",
        "largest of a moment",
        "no candidate without source",
        "others'",
        "nulls",
        "none",
    ],
)
@pytest.mark.parametrize("config", [FeaturesConfig(delay_ms=500), FeaturesConfig(history="all")], ids=["past", "all"])
def test_traffic_source(row, views, expected, config):
    assert row(1, 10, config, page_views=views)["traffic_source"] == expected


@pytest.mark.parametrize("context", [(None, "US"), (1, None)])
def test_traffic_source_of_an_event_without_platform_or_place(row, context):
    found = row(1, 10, events=[(1, "u", 100, 1000, *context)], page_views=[("u", 100, 1, *context, 1)])
    assert found["traffic_source"] is None


def test_aspects_by_confidence_then_id_and_first_of_repeated(row):
    topics = [(200, 9, 0.3), (200, 5, 0.3), (200, 7, 0.9), (200, 6, 0.2), (200, 6, 1.0), (100, 4, 0.1)]
    found = row(1, 10, documents_topics=topics, documents_entities=[(200, "b", 1.0), (200, "a", 1.0)])
    assert found["doc_ad_topic_id"] == [7, 5, 9]
    assert found["doc_event_topic_id"] == [4]
    assert found["doc_ad_entity_id"] == ["a", "b"]
    assert found["doc_event_entity_id"] is None


@pytest.mark.parametrize(
    ("config", "views", "viewed"),
    [
        (FeaturesConfig(), 1, 0),  # of display 3 at 3000: only the view at 2999 is before
        (FeaturesConfig(delay_ms=1), 0, 0),
        (FeaturesConfig(history="all", delay_ms=1), 3, 1),
    ],
)
def test_user_sees_strictly_before_or_all(row, config, views, viewed):
    page_views = [
        ("u", 201, 2999, *CONTEXT, 1),
        ("u", 200, 3000, *CONTEXT, 1),
        ("u", 200, DAY, *CONTEXT, 1),
        ("v", 200, 1, *CONTEXT, 1),
    ]
    found = row(3, 10, config, page_views=page_views)
    assert (found["user_views"], found["user_has_already_viewed_doc"]) == (views, viewed)


def test_document_similarity(row):
    # Four documents; category 1 has one of them, category 2 two: idf ln 4 and ln 2, so 200 is (1, 1/4) ln 2 and 201 (0, 3/4) ln 2.
    found = row(4, 11)  # shown on 200, leads to 201
    sim = 0.25 / math.sqrt(1 + 1 / 16)
    # p = 2/2, q = 1/2, one in common
    assert value_conf_product(found, "doc_event_doc_ad_sim_categories") == pytest.approx([sim, 0.5, sim * 0.5])
    # topics: p = q = 1/2, none in common: error 1 - 1/4
    assert value_conf_product(found, "doc_event_doc_ad_sim_topics") == [0.0, 0.25, 0.0]
    assert value_conf_product(found, "doc_event_doc_ad_sim_entities") == [None] * 3
    same = row(4, 10)
    # two of two in common: error (1 * 1) ** 2
    assert value_conf_product(same, "doc_event_doc_ad_sim_categories") == pytest.approx([1.0, 0.0, 0.0])


def test_a_document_of_ubiquitous_aspects_only_has_no_similarity(row):
    # All four documents have category 1, so its idf is 0.
    categories = [(100, 1, 0.5), (101, 1, 0.5), (200, 1, 0.5), (200, 2, 0.5), (201, 1, 0.5)]
    assert value_conf_product(row(4, 11, documents_categories=categories), "doc_event_doc_ad_sim_categories") == [None] * 3
    # with another one it still counts: p = q = 2/2, two in common
    assert value_conf_product(row(4, 10, documents_categories=categories), "doc_event_doc_ad_sim_categories") == [1.0, 0.0, 0.0]


def test_user_similarity(row):
    # 201 twice and 200 once: category 1 0.5, category 2 0.25 + 2 * 0.75; weights (1, 1.75) ln 2; the ad's document (1, 0.25) ln 2
    views = [("u", 201, 1, *CONTEXT, 1), ("u", 201, 2, *CONTEXT, 1), ("u", 200, 3, *CONTEXT, 1), ("u", 100, 4, *CONTEXT, 1)]
    found = row(3, 10, page_views=views)
    sim = (1 + 1.75 * 0.25) / math.hypot(1, 1.75) / math.hypot(1, 0.25)
    assert value_conf_product(found, "user_doc_ad_sim_categories") == pytest.approx([sim, 0.0, 0.0])
    # topics: weights (0.5, 1) against (0.5, 0): p = 2/2, q = 1/2, one in common
    assert value_conf_product(found, "user_doc_ad_sim_topics") == pytest.approx(
        [0.5 / math.hypot(0.5, 1), 0.5, 0.25 / math.hypot(0.5, 1)]
    )


def test_user_similarity_needs_a_visible_view_of_a_document_with_aspects(row):
    for views in ([], [("u", 200, 3000, *CONTEXT, 1)], [("u", 100, 1, *CONTEXT, 1)], [("v", 200, 1, *CONTEXT, 1)]):
        assert value_conf_product(row(3, 10, page_views=views), "user_doc_ad_sim_categories") == [None] * 3


def test_ctr(row):
    found = row(3, 10, settings())
    # ad 10: displays 1, clicked, and 2; confidence by views
    assert value_conf_product(found, "pop_ad_id") == pytest.approx([1 / 2, math.log(3) / 2, math.log(3) / 4])
    assert found["ad_views"] == 2
    # document 200: ad 12 of display 2, clicked, too; confidence by 3 views / 2 ads
    assert value_conf_product(found, "pop_document_id") == pytest.approx([2 / 3, math.log(2.5) / 2, math.log(2.5) / 3])
    assert found["doc_views"] == 3
    # shown on 101 only by display 3
    assert value_conf_product(found, "pop_doc_event_doc_ad") == [None] * 3


def test_ctr_of_all_history_has_its_own_label_but_no_eval_rows(row):
    found = row(3, 10, settings(history="all", delay_ms=5))
    assert value_conf_product(found, "pop_ad_id") == pytest.approx([2 / 3, 1.0, 2 / 3])
    assert value_conf_product(found, "pop_doc_event_doc_ad") == pytest.approx([1 / 2, LN2 / 2, LN2 / 4])  # ads 10 and 12
    assert row(4, 10, settings(history="all"))["ad_views"] == 3


def test_ctr_is_of_strictly_before_the_delayed_time(row):
    assert row(3, 10, settings(delay_ms=999))["ad_views"] == 2
    assert row(3, 10, settings(delay_ms=1000))["ad_views"] == 1
    assert row(3, 10, settings(delay_ms=2000))["ad_views"] is None


def test_ctr_prior_is_of_the_row_asked(row):
    # display 3 has three ads, display 4 two
    assert row(3, 10, settings(ctr_prior_views=5))["pop_ad_id"] == pytest.approx((1 + 5 / 3) / (2 + 5))
    assert row(4, 10, settings(ctr_prior_views=5))["pop_ad_id"] == pytest.approx((2 + 5 / 2) / (3 + 5))


def test_ctr_needs_more_views_than_the_threshold(row):
    found = row(3, 10, settings(threshold=2))
    assert (value_conf_product(found, "pop_ad_id"), found["ad_views"]) == ([None] * 3, None)
    assert (found["pop_document_id"], found["doc_views"]) == (pytest.approx(2 / 3), 3)
    assert row(3, 10)["doc_views"] is None  # five by default


def test_ctr_of_a_missing_key(row):
    # 201 has no source
    assert value_conf_product(row(4, 11, settings()), "pop_source_id") == [None] * 3
    assert value_conf_product(row(4, 11, settings()), "pop_source_id_country") == [None] * 3
    assert row(4, 10, settings())["pop_source_id"] == pytest.approx(3 / 5)


def test_ctr_by_country(row):
    events = [(display, *rest, geo) for (display, *rest, _), geo in zip(LOG["events"], ("US", "GB", "US", "US>CA"), strict=True)]
    found = row(4, 10, settings(), events=events)
    assert found["pop_source_id"] == pytest.approx(3 / 5)
    assert found["pop_source_id_country"] == pytest.approx(2 / 3)  # displays 1 and 3: ads 10, 10, 12
    assert found["pop_category_id_country"] is not None
    assert row(4, 10, settings(), events=[*events[:3], (4, "u", 200, 11 * DAY, 1, None)])["pop_category_id_country"] is None


def test_ctr_of_aspects(row):
    # Document 200 was shown by ads 10 and 12, five times, thrice clicked; document 201 by ad 11, twice, never clicked.
    # Category 1: 3 / 5, 2.5 views an ad, mean confidence 0.5. Category 2: 3 / 7, 7/3 views an ad, (5 * 0.25 + 2 * 0.75) / 7.
    weight1 = math.log(1 + 5 / 2) / 2 * 0.5 * 0.5
    weight2 = math.log(1 + 7 / 3) / 2 * (2.75 / 7) * 0.25
    ctr = (3 / 5 * weight1 + 3 / 7 * weight2) / (weight1 + weight2)
    assert value_conf_product(row(4, 10, settings()), "pop_category_id") == pytest.approx([ctr, weight1, ctr * weight1])
    # more than 5 views: category 2 only
    expected = [3 / 7, weight2, 3 / 7 * weight2]
    assert value_conf_product(row(4, 10, settings(threshold=5)), "pop_category_id") == pytest.approx(expected)
    assert value_conf_product(row(4, 10, settings(threshold=7)), "pop_category_id") == [None] * 3
    # a document without entities
    assert value_conf_product(row(4, 10, settings()), "pop_entity_id") == [None] * 3


def test_ctr_of_aspects_of_no_confidence_is_missing(row):
    found = row(4, 10, settings(), documents_categories=[(200, 1, 0.0), (201, 1, 0.5)])
    assert value_conf_product(found, "pop_category_id") == [None] * 3


def test_popularity(row):
    config = FeaturesConfig(popularity_prior_views=6)
    assert row(1, 10, config)["popularity"] == pytest.approx(1 / 2)
    assert row(3, 10, config)["popularity"] == pytest.approx((1 + 6 / 3) / (2 + 6))
    assert row(3, 10, FeaturesConfig(popularity_prior_views=6, history="all"))["popularity"] == pytest.approx((2 + 2) / (3 + 6))


def test_features_of_absent_tables_are_missing(row):
    found = row(4, 10, settings(), page_views=None, documents_meta=None, documents_topics=None)
    for name in (
        "user_views",
        "user_has_already_viewed_doc",
        "doc_event_source_id",
        "doc_event_doc_ad_sim_categories",
        "pop_topic_id",
    ):
        assert found[name] is None
    assert found["pop_category_id"] is not None
    assert found["doc_ad_category_id"] == [1, 2]
