"""Latent directions of documents: hand-checked cosines, and what must not change them."""

import math

import numpy as np
import pyarrow as pa
import pytest

from schemas.features import DOCUMENT_LATENT, USER_LATENT
from tests.tables import write_log, write_table
from tests.transforms.test_compute_features import compute
from transforms.aspects import load_aspects
from transforms.dimensions import save
from transforms.latent import document_cosines, document_vectors, load_vectors, profile_cosines

LATENT = [USER_LATENT, DOCUMENT_LATENT]
COOL, HOT, RAIN, CAR, BIKE = 1, 2, 3, 4, 5
"""Topics."""


@pytest.fixture
def directions(tmp_path):
    """Returns the function that gives the directions of documents with these (document, topic, confidence)."""

    def make(*tables, dimensions=24, documents=100):
        aspects = []
        for number, rows in enumerate(tables):
            columns = zip(*rows, strict=True) if rows else ((), (), ())
            types = (pa.int32(), pa.int32(), pa.float32())
            names = ("document_id", "topic_id", "confidence_level")
            path = str(tmp_path / f"{number}-{dimensions}-{hash(tuple(rows))}.arrow")
            save(pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=names), path)
            aspects.append(load_aspects(path, documents))
        path = str(tmp_path / f"vectors-{dimensions}-{hash(tables)}.arrow")
        save(document_vectors(aspects, dimensions), path)
        return load_vectors(path)

    return make


def cosine(vectors, one, other):
    places = [vectors.places_of(pa.array([document])) for document in (one, other)]
    (value,), (missing,) = document_cosines(*places, vectors)
    return None if missing else value


def test_documents_of_one_topic_are_alike_and_of_unrelated_ones_are_not(directions):
    vectors = directions(((1, COOL, 0.9), (2, COOL, 0.1), (3, HOT, 0.5)))
    assert cosine(vectors, 1, 2) == pytest.approx(1)
    assert cosine(vectors, 1, 3) == pytest.approx(0, abs=1e-6)
    assert cosine(vectors, 1, 9) is None
    assert cosine(vectors, 9, 1) is None


WEATHER = ((1, COOL, 0.5), (1, RAIN, 0.5), (2, COOL, 0.5), (2, RAIN, 0.5), (3, COOL, 0.5), (4, RAIN, 0.5))
TRAFFIC = ((5, CAR, 0.5), (5, BIKE, 0.5), (6, CAR, 0.5), (6, BIKE, 0.5), (7, CAR, 0.5), (8, BIKE, 0.5))


def test_topics_that_go_together_are_alike_without_a_document_in_common(directions):
    # X'X is ((2, 1), (1, 2)) in each of the two worlds: eigenvalue 3 for the sum of its topics, 1 for their difference.
    vectors = directions((*WEATHER, *TRAFFIC), dimensions=2)
    assert cosine(vectors, 3, 4) == pytest.approx(1)
    assert cosine(vectors, 7, 8) == pytest.approx(1)
    assert cosine(vectors, 3, 7) == pytest.approx(0, abs=1e-6)
    exact = directions((*WEATHER, *TRAFFIC), dimensions=4)
    assert cosine(exact, 3, 4) == pytest.approx(0, abs=1e-6)
    assert cosine(exact, 1, 3) == pytest.approx(math.sqrt(1 / 2))


def test_dimensions_of_equal_strength_are_kept_together(directions):
    # The two eigenvalues 3 tie, and so do the two of 1: which vectors of them would be first is chance.
    for dimensions, kept in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 4)):
        assert len(directions((*WEATHER, *TRAFFIC), dimensions=dimensions).coordinates) == kept


def test_a_document_orthogonal_to_all_dimensions_has_no_direction(directions):
    vectors = directions((*WEATHER, (9, HOT, 1.0)), dimensions=1)
    assert cosine(vectors, 9, 9) is None
    assert cosine(vectors, 1, 1) == pytest.approx(1)


def test_kinds_of_aspect_weigh_the_same_whatever_their_confidences(directions):
    topics, categories = ((1, COOL, 0.9), (2, COOL, 0.9), (3, HOT, 0.9)), ((1, CAR, 0.1), (2, BIKE, 0.1), (3, CAR, 0.1))
    vectors = directions(topics, categories)
    assert cosine(vectors, 1, 2) == pytest.approx(1 / 2)
    assert cosine(vectors, 1, 3) == pytest.approx(1 / 2)
    assert cosine(vectors, 2, 3) == pytest.approx(0, abs=1e-6)


def test_aspects_of_all_documents_tell_nothing(directions):
    vectors = directions(((1, COOL, 0.5), (2, COOL, 0.5), (2, HOT, 0.5)), documents=2)
    assert cosine(vectors, 1, 2) is None
    assert cosine(vectors, 2, 2) == pytest.approx(1)


@pytest.mark.parametrize("rows", [(), ((1, COOL, 0.5),)])
def test_nothing_to_tell_apart_gives_no_directions(directions, rows):
    vectors = directions(rows, documents=1)
    assert cosine(vectors, 1, 1) is None


def test_the_order_of_the_rows_changes_no_bit(directions):
    rng = np.random.default_rng(1)
    pairs = np.unique(rng.integers(0, [300, 60], (1500, 2)), axis=0)
    rows = [(int(d), int(x), c) for (d, x), c in zip(pairs, rng.uniform(0.1, 1, len(pairs)), strict=True)]
    again = [rows[i] for i in rng.permutation(len(rows))]
    one, other = directions(tuple(rows), documents=300), directions(tuple(again), documents=300)
    np.testing.assert_array_equal(one.coordinates, other.coordinates)
    assert len(one.coordinates) == 24
    np.testing.assert_allclose((one.coordinates[:, :-1] ** 2).sum(axis=0), 1, atol=1e-5)


def test_a_profile_is_the_sum_of_what_was_viewed(directions):
    vectors = directions(((1, COOL, 0.5), (2, HOT, 0.5)))
    one, two, none = 0, 1, -1
    viewed = np.array([one, two, two, none, none])
    # 1 and 2 twice; nothing; documents without direction only
    start, end = np.array([0, 3, 3]), np.array([3, 3, 5])
    pairs = np.array([0, 0, 0, 1, 2])
    value, missing = profile_cosines(viewed, start, end, pairs, np.array([one, two, none, one, one]), vectors)
    assert missing.tolist() == [False, False, True, True, True]
    assert value[:2] == pytest.approx([1 / math.sqrt(5), 2 / math.sqrt(5)])


@pytest.fixture
def rows(tmp_path):
    """Returns the function that computes the latent features, by (display, ad), of a log of three displays with these views.

    The user `cb8c...` sees display 1 at 1,000 ms on document 100, with ads that lead to 200 and 201. 100 and 200 are about COOL,
    201 about HOT.
    """

    def make(*views, without=(), **options):
        log = write_log(tmp_path / "log")
        write_table(log, "page_views", [("cb8c55702adb93", document, time, 1, "US>CA>803", 1) for document, time in views])
        write_table(log, "documents_topics", [(100, COOL, 0.5), (200, COOL, 0.5), (201, HOT, 0.5)])
        write_table(log, "documents_categories", [])
        for role in without:
            (log / f"{role}.csv").unlink()
        table, _, _ = compute(log, tmp_path / "work", columns=["display_id", "ad_id", *LATENT], **options)
        return {(row["display_id"], row["ad_id"]): row for row in table.to_pylist()}

    return make


def test_features_of_a_row(rows):
    found = rows((200, 998), (200, 999), (201, 999))
    assert found[1, 10] == pytest.approx({**found[1, 10], USER_LATENT: 2 / math.sqrt(5), DOCUMENT_LATENT: 1})
    assert found[1, 11] == pytest.approx({**found[1, 11], USER_LATENT: 1 / math.sqrt(5), DOCUMENT_LATENT: 0}, abs=1e-6)
    assert found[2, 10][USER_LATENT] is None  # another user
    assert found[3, 10][DOCUMENT_LATENT] is None  # shown on 101, of which nothing is known


@pytest.mark.parametrize("views", [(), ((200, 1000),), ((101, 10),)], ids=["none", "at the display's own moment", "of no topic"])
def test_without_an_earlier_view_the_user_has_no_direction(rows, views):
    found = rows(*views)
    assert found[1, 10][USER_LATENT] is None
    assert found[1, 10][DOCUMENT_LATENT] == pytest.approx(1)


@pytest.mark.parametrize("role", ["documents_meta", "documents_topics", "documents_categories"])
def test_without_one_of_the_tables_both_are_missing(rows, role):
    assert {row[name] for row in rows((200, 1), without=[role]).values() for name in LATENT} == {None}


def test_without_page_views_the_user_s_alone_is_missing(rows):
    found = rows(without=["page_views"])
    assert {row[USER_LATENT] for row in found.values()} == {None}
    assert found[1, 10][DOCUMENT_LATENT] == pytest.approx(1)


def test_only_the_most_used_aspects_count(directions, monkeypatch):
    monkeypatch.setattr("transforms.latent.MAX_ASPECTS", 1)
    vectors = directions(((1, COOL, 1.0), (2, COOL, 1.0), (3, RAIN, 1.0)))
    assert cosine(vectors, 1, 2) == pytest.approx(1.0)
    assert cosine(vectors, 3, 3) is None
