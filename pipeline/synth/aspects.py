"""Topics, categories and entities of the documents."""

from dataclasses import dataclass

import numpy as np

from pipeline.synth import marginals
from pipeline.synth.documents import AREAS, Documents


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, those of a document together, the most confident first.

    Attributes:
        document: int64, index.
        aspect: int64: a topic id, a category id, or an index into `Aspects.entity_ids`.
        confidence: float64 in (0, 1].
    """

    document: np.ndarray
    aspect: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True, slots=True)
class Aspects:
    """The three tables. `entity_ids` is of dtype S32, hex."""

    topics: Rows
    categories: Rows
    entities: Rows
    entity_ids: np.ndarray


def build(documents: Documents, rng: np.random.Generator) -> Aspects:
    """Draws the aspects of the documents that the tables know."""
    pool = max(AREAS, round(0.44 * len(documents.ids)))
    return Aspects(_topics(rng, documents), _categories(rng, documents), _entities(rng, documents, pool), hex_ids(rng, pool, 16))


def _topics(rng: np.random.Generator, documents: Documents) -> Rows:
    """1 to 39 topics a document, 4.6 in the mean."""
    listed = _covered(rng, documents, "topics")
    counts = 1 + np.minimum(rng.negative_binomial(1.0, 0.15, len(listed)), 38)
    document, position = _expand(listed, counts)
    area = _areas(rng, documents, document, position, main=0.8, second=0.12)
    aspect = _within(rng, area, rng.permutation(marginals.TOPICS), 1.4)
    document, aspect, position = _distinct(document, aspect)
    top = rng.uniform(0.1, marginals.MAX_TOPIC_CONFIDENCE, len(documents.ids))[document]
    confidence = np.maximum(marginals.MIN_TOPIC_CONFIDENCE, top * 0.68**position * rng.uniform(0.85, 1.0, len(document)))
    return Rows(document, aspect, np.round(confidence, 15))


def _categories(rng: np.random.Generator, documents: Documents) -> Rows:
    """Two categories for 94 % of the documents, one for the others."""
    listed = _covered(rng, documents, "categories")
    document, position = _expand(listed, np.full(len(listed), 2))
    # A second draw of the same category falls away and leaves one.
    area = _areas(rng, documents, document, position, main=0.15, second=0.6)
    aspect = _within(rng, area, marginals.category_ids(), 1.6)
    document, aspect, position = _distinct(document, aspect)
    n = len(documents.ids)
    is_pair = (rng.random(n) < 0.65)[document]
    top = rng.uniform(0.47, 0.9, n)[document]
    confidence = np.where(is_pair, np.where(position == 0, 0.92, 0.07), np.where(position == 0, top, 0.076 * top))
    return Rows(document, aspect, np.round(confidence, 15))


def _entities(rng: np.random.Generator, documents: Documents, pool: int) -> Rows:
    """1 to 10 entities a document, 3.1 in the mean, out of `pool`."""
    listed = _covered(rng, documents, "entities")
    counts = 1 + np.minimum(rng.negative_binomial(1.2, 0.34, len(listed)), 9)
    document, position = _expand(listed, counts)
    area = _areas(rng, documents, document, position, main=0.8, second=0.12)
    aspect = _within(rng, area, rng.permutation(pool), 1.0)
    document, aspect, position = _distinct(document, aspect)
    top = rng.uniform(0.2, 0.99, len(documents.ids))[document]
    confidence = np.round(top * 0.8**position * rng.uniform(0.85, 1.0, len(document)), 15)
    return Rows(document, aspect, confidence)


def hex_ids(rng: np.random.Generator, n: int, length: int) -> np.ndarray:
    """Returns n random ids of `length` bytes each as hex text, dtype S(2 * length)."""
    return np.frombuffer(rng.bytes(n * length).hex().encode(), dtype=f"S{2 * length}")


def _covered(rng: np.random.Generator, documents: Documents, kind: str) -> np.ndarray:
    return np.flatnonzero(documents.listed & (rng.random(len(documents.ids)) < marginals.COVERAGE[kind]))


def _expand(listed: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(listed, counts), np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _areas(
    rng: np.random.Generator, documents: Documents, document: np.ndarray, position: np.ndarray, main: float, second: float
) -> np.ndarray:
    """The area each aspect comes from: the first aspect always from the main area, the others from it, the second or any."""
    draw = rng.random(len(document))
    other = np.where(draw < main + second, documents.second[document], rng.integers(0, AREAS, len(document)))
    return np.where((position == 0) | (draw < main), documents.area[document], other)


def _within(rng: np.random.Generator, area: np.ndarray, aspects: np.ndarray, exponent: float) -> np.ndarray:
    """Draws an aspect of each area; `aspects` are dealt out to the areas in turn, the first ones being the most frequent."""
    drawn = np.empty(len(area), dtype=np.int64)
    for k in range(AREAS):
        mine = np.flatnonzero(area == k)
        pool = aspects[k::AREAS]
        drawn[mine] = rng.choice(pool, len(mine), p=marginals.zipf(len(pool), exponent, 1.0))
    return drawn


def _distinct(document: np.ndarray, aspect: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drops an aspect that a document has already. Returns documents, aspects and the positions within the document."""
    _, first = np.unique(document * (int(aspect.max()) + 1) + aspect, return_index=True)
    first.sort()
    document, aspect = document[first], aspect[first]
    starts = np.flatnonzero(np.r_[True, document[1:] != document[:-1]])
    return document, aspect, np.arange(len(document)) - np.repeat(starts, np.diff(np.r_[starts, len(document)]))
