"""All features of a row that need no other row: ids, context, ages, what the documents are about. History comes after."""

from collections.abc import Callable, Collection
from functools import cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.config import SplitConfig
from schemas.features import ASPECTS, DOCUMENT_LATENT
from schemas.tables import Dataset
from transforms import context
from transforms.aspects import DocumentAspects
from transforms.dimensions import Dimension
from transforms.examples import arrow_schema
from transforms.latent import DocumentVectors, document_cosines
from transforms.similarity import similarities, similarity_columns
from transforms.split import TEST, TRAIN, assign_split
from transforms.users import user_number
from transforms.wanted import with_confidence

SPLIT = "_split"
"""Column with the row's split code, int64; see transforms/split.py."""

USER = "_user"
"""Column with the number of the row's user, int64; see `users.user_number`."""


def base_rows(
    joined: pa.Table,
    ads: Dimension,
    documents: Dimension | None,
    aspects: dict[str, DocumentAspects],
    vectors: DocumentVectors | None,
    dataset: Dataset,
    split: SplitConfig | None,
    wanted: Collection[str],
) -> pa.Table:
    """Computes the columns of the feature table that are functions of the joined row and the dimensions alone.

    Args:
        joined: Rows of `displays.join_displays`.
        ads: By `ad_id`: `document_id`, `campaign_id`, `advertiser_id`.
        documents: By `document_id`: `source_id`, `publisher_id`, `publish_time`; None if the log has no such table.
        aspects: By aspect name; an absent one is missing everywhere.
        vectors: Latent directions of documents; None if there are none.
        dataset: For its clock.
        split: How to split labelled rows; None puts them all into TRAIN. Rows without a label are TEST.
        wanted: The columns to compute, of those that need any computing.

    Returns:
        Columns named as in the feature table, `USER` and `SPLIT`.
    """
    display_id = joined["display_id"].cast(pa.int64())
    timestamp = joined["timestamp"].to_numpy()
    utc_ms = timestamp + dataset.epoch_ms
    geo = _flat(joined["geo_location"])
    place = cache(lambda: context.country_state(geo))
    local = cache(lambda: context.local_ms(utc_ms, place()))
    no_place = cache(lambda: place().is_null().to_numpy(zero_copy_only=False))
    hour = cache(lambda: pa.array(context.hour_bin(local()), mask=no_place()))
    ad_id, event_doc = _flat(joined["ad_id"]), _flat(joined["document_id"])
    ad_doc = ads.look_up(ad_id, "document_id")
    columns: dict[str, pa.Array] = {
        "display_id": display_id,
        USER: pa.array(user_number(joined["uuid"])),
        "timestamp": joined["timestamp"],
        "ads_per_display": joined["ads_per_display"],
        "ad_id": ad_id,
        "doc_id": ad_doc,
    }
    makers: dict[str, Callable[[], pa.Array | pa.ChunkedArray]] = {
        "uuid": lambda: joined["uuid"],
        "doc_event_id": lambda: event_doc,
        "event_country": lambda: context.country(geo),
        "event_country_state": place,
        "event_geo_location": lambda: geo,
        "event_platform": lambda: context.platform_code(joined["platform"]),
        "event_hour": hour,
        "event_weekend": lambda: pa.array(context.is_weekend(local()), mask=no_place()),
        "doc_event_hour": hour,
        "ad_campaign": lambda: ads.look_up(ad_id, "campaign_id"),
        "ad_advertiser": lambda: ads.look_up(ad_id, "advertiser_id"),
    }
    for side, document in (("doc_event", event_doc), ("doc_ad", ad_doc)):
        makers |= _document_columns(side, document, documents, utc_ms)
        for aspect in ASPECTS:
            if aspect.name in aspects:
                makers[f"{side}_{aspect.name}_id"] = partial(aspects[aspect.name].top, document, aspect.hotness)
    columns |= {name: make() for name, make in makers.items() if name in wanted}
    for aspect in ASPECTS:
        stem = f"doc_event_doc_ad_sim_{aspect.plural}"
        if aspect.name in aspects and not set(wanted).isdisjoint(with_confidence(stem)):
            columns |= similarity_columns(stem, *_document_similarities(event_doc, ad_doc, aspects[aspect.name]))
    if vectors is not None and DOCUMENT_LATENT in wanted:
        cosine, missing = document_cosines(vectors.places_of(event_doc), vectors.places_of(ad_doc), vectors)
        columns[DOCUMENT_LATENT] = pa.array(cosine, mask=missing)
    if "clicked" in joined.column_names:
        columns["label"] = joined["clicked"]
        codes = assign_split(display_id.to_numpy(), timestamp, split) if split else np.full(joined.num_rows, TRAIN)
    else:
        columns["label"] = pa.nulls(joined.num_rows, pa.int64())
        codes = np.full(joined.num_rows, TEST)
    return pa.table({**{name: _as_int64(column) for name, column in columns.items()}, SPLIT: pa.array(codes, pa.int64())})


def complete_rows(rows: pa.Table, columns: dict[str, pa.Array], wanted: Collection[str]) -> pa.Table:
    """Adds columns to base rows; returns the wanted fields of `arrow_schema()`, null where nobody gave a column, and `SPLIT`."""
    known = {name: rows[name] for name in rows.column_names} | columns
    schema = pa.schema([field for field in arrow_schema() if field.name in wanted])
    table = pa.table([known.get(f.name, pa.nulls(rows.num_rows, f.type)) for f in schema], names=schema.names).cast(schema)
    return table.append_column(SPLIT, rows[SPLIT])


def _document_columns(
    side: str, document: pa.Array, documents: Dimension | None, utc_ms: np.ndarray
) -> dict[str, Callable[[], pa.Array]]:
    names = (f"{side}_source_id", f"{side}_publisher_id", f"{side}_days_since_published")
    if documents is None:
        return dict.fromkeys(names, lambda: pa.nulls(len(document), pa.int64()))
    source = partial(documents.look_up, document, "source_id")
    publisher = partial(documents.look_up, document, "publisher_id")
    age = lambda: context.days_since_published(utc_ms, documents.look_up(document, "publish_time"))  # noqa: E731
    return dict(zip(names, (source, publisher, age), strict=True))


def _document_similarities(
    event_doc: pa.Array, ad_doc: pa.Array, aspects: DocumentAspects
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    present, place = np.unique(aspects.rows_of(event_doc), return_inverse=True)
    return similarities(aspects.confidence[present], place, aspects.rows_of(ad_doc), aspects)


def _as_int64(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pc.cast(column, pa.int64()) if pa.types.is_integer(column.type) else column


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
