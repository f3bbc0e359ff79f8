"""The feature table: the one definition of every column between the raw tables and the model.

The columns that feature engineering writes, the tf.Example spec, schema.pbtxt, the preprocessing_fn, the model's inputs, the
serving signature and the tables of docs and summary are all derived from `FEATURES` and `KEYS`. To add a feature, add a row here,
a pure function in transforms/ that computes the column, and a golden row in a test.

Names, bucket counts and embedding sizes are those of NVIDIA's Wide & Deep for the Outbrain data, with the spelling mended.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Level = Literal["request", "item"]
Kind = Literal["numeric", "id", "ids", "indicator"]
DType = Literal["int64", "float32", "string"]
Scale = Literal["raw", "log", "log1000"]
Missing = Literal["none", "zero", "mean"]

MISSING_ID = -1
"""What an absent id or indicator becomes in Transform: never an id, a zero vector in the model."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One model feature; missing is null in Arrow and an absent key in a tf.Example.

    Attributes:
        name: The column, the tf.Example key and the model input.
        level: `request` is the same for all ads of a display, `item` varies with the ad.
        kind: `id` is one hashed value, `ids` up to `hotness` hashed values, `indicator` a small non-negative integer that is
            one-hot encoded, `numeric` a number.
        dtype: Type of the raw value.
        about: What it is, for people.
        tables: Roles of the optional tables without which it is missing.
        buckets: Hash buckets of an id, number of values of an indicator.
        embedding_dim: Width of the deep part's embedding of an id.
        hotness: Most values an `ids` feature keeps.
        scale: How Transform scales a number x: `raw` not at all; `log` is log2(1 + x) and `log1000` is log2(1 + 1000 x), both
            then brought to [0, 1] by the minimum and maximum over the train split.
        missing: What Transform puts for a missing number: `zero`, or the `mean` of the scaled train values. `none` for kinds
            that encode absence as `MISSING_ID`.
        wide: Whether the wide part sees it.
        deep: Whether the deep part sees it.
    """

    name: str
    level: Level
    kind: Kind
    dtype: DType
    about: str
    tables: tuple[str, ...] = ()
    buckets: int = 0
    embedding_dim: int = 0
    hotness: int = 1
    scale: Scale = "raw"
    missing: Missing = "none"
    wide: bool = True
    deep: bool = True

    def __post_init__(self) -> None:
        if (self.kind == "numeric") != (self.missing != "none"):
            raise ValueError(f"feature {self.name!r}: exactly the numeric features have a missing rule. Received: {self.missing!r}")
        if (self.buckets > 0) != (self.kind != "numeric"):
            raise ValueError(f"feature {self.name!r}: exactly the non-numeric features have buckets. Received: {self.buckets}")
        if (self.embedding_dim > 0) != (self.kind in ("id", "ids")):
            raise ValueError(f"feature {self.name!r}: exactly ids have an embedding. Received: {self.embedding_dim}")

    @property
    def is_input(self) -> bool:
        """Whether the model sees the feature at all."""
        return self.wide or self.deep


@dataclass(frozen=True, slots=True)
class Key:
    """A column that identifies, labels or judges a row and that the model never sees."""

    name: str
    dtype: DType
    about: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CtrGroup:
    """A grouping of the click log whose click-through rate is a feature.

    Attributes:
        feature: Name of the CTR feature.
        key: Columns that form the group; a null in any of them gives a missing CTR.
        min_views: The CTR is missing unless the group has more than this many views.
        views_feature: Name of the feature that holds the group's views, if there is one.
        tables: Roles of the optional tables that the key comes from.
        about: What the group is.
    """

    feature: str
    key: tuple[str, ...]
    min_views: int
    about: str
    views_feature: str = ""
    tables: tuple[str, ...] = ()


_META = ("documents_meta",)

CTR_GROUPS: tuple[CtrGroup, ...] = (
    CtrGroup("pop_ad_id", ("ad_id",), 5, "ad", views_feature="ad_views"),
    CtrGroup("pop_document_id", ("doc_id",), 5, "ad's document", views_feature="doc_views"),
    CtrGroup("pop_source_id", ("doc_ad_source_id",), 10, "source of the ad's document", tables=_META),
    CtrGroup("pop_publisher_id", ("doc_ad_publisher_id",), 10, "publisher of the ad's document", tables=_META),
    CtrGroup("pop_advertiser_id", ("ad_advertiser",), 10, "advertiser"),
    CtrGroup("pop_campaign_id", ("ad_campaign",), 10, "campaign"),
)

KEYS: tuple[Key, ...] = (
    Key("display_id", "int64", "the display: one set of ads shown together, of which one was clicked"),
    Key("uuid", "string", "the user"),
    Key("timestamp", "int64", "ms since the start of the log"),
    Key("ads_per_display", "int64", "number of ads in the display"),
    Key("popularity", "float32", "smoothed as-of CTR of the ad; the popularity baseline ranks by it"),
    Key("label", "int64", "1 if the ad was clicked, else 0; absent when only scores are wanted", optional=True),
)


def _id(name: str, level: Level, buckets: int, dim: int, about: str, dtype: DType = "int64", **more: object) -> Feature:
    return Feature(name, level, "id", dtype, about, buckets=buckets, embedding_dim=dim, **more)  # type: ignore[arg-type]


def _indicator(name: str, buckets: int, about: str) -> Feature:
    return Feature(name, "request", "indicator", "int64", about, buckets=buckets)


def _number(
    name: str, level: Level, dtype: DType, scale: Scale, missing: Missing, about: str, tables: tuple[str, ...] = ()
) -> Feature:
    return Feature(name, level, "numeric", dtype, about, tables=tables, scale=scale, missing=missing)


def _ctr_features() -> Iterable[Feature]:
    for group in CTR_GROUPS:
        about = f"CTR of the {group.about}, as of the display"
        yield _number(group.feature, "item", "float32", "log1000", "mean", about, group.tables)
        if group.views_feature:
            yield _number(group.views_feature, "item", "int64", "log", "zero", f"views of the {group.about}, as of the display")


FEATURES: tuple[Feature, ...] = (
    _id("doc_event_id", "request", 300_000, 128, "document that shows the display"),
    _id("doc_event_source_id", "request", 4_000, 64, "its source", tables=_META),
    _id("doc_event_publisher_id", "request", 1_000, 64, "its publisher", tables=_META),
    _id("event_country", "request", 300, 64, "country code", dtype="string"),
    _id("event_country_state", "request", 2_000, 64, "country and state, `US>CA`", dtype="string"),
    _id("event_geo_location", "request", 2_500, 64, "country, state and DMA, `US>CA>803`", dtype="string"),
    _indicator("event_platform", 3, "0 desktop, 1 mobile, 2 tablet"),
    _indicator("event_hour", 6, "local hour: 5-7, 8-10, 11-13, 14-18, 19-21, 22-4"),
    _indicator("event_weekend", 2, "1 on a local Saturday or Sunday"),
    _number(
        "doc_event_days_since_published", "request", "int64", "log", "zero", "age of the event's document, 0 to 3650 days", _META
    ),
    _id("ad_id", "item", 250_000, 128, "ad"),
    _id("doc_id", "item", 100_000, 128, "the ad's document"),
    _id("ad_campaign", "item", 5_000, 64, "campaign; not an input of the reference model", wide=False, deep=False),
    _id("ad_advertiser", "item", 2_500, 64, "advertiser"),
    _id("doc_ad_source_id", "item", 4_000, 64, "source of the ad's document", tables=_META),
    _id("doc_ad_publisher_id", "item", 1_000, 64, "publisher of the ad's document", tables=_META),
    _number("doc_ad_days_since_published", "item", "int64", "log", "zero", "age of the ad's document, 0 to 3650 days", _META),
    *_ctr_features(),
)


def model_inputs(
    *,
    add: Iterable[str] = (),
    drop: Iterable[str] = (),
    max_buckets: int | None = None,
    max_embedding_dim: int | None = None,
) -> tuple[Feature, ...]:
    """Returns the features that a model with these settings sees, in the order of the table.

    Args:
        add: Names of features to switch on (wide and deep) that are off in the table.
        drop: Names of features to leave out.
        max_buckets: Upper bound on the hash buckets of ids.
        max_embedding_dim: Upper bound on the width of embeddings.

    Raises:
        ValueError: A name in `add` or `drop` is not a feature, or none is left.
    """
    add, drop = set(add), set(drop)
    unknown = (add | drop) - {f.name for f in FEATURES}
    if unknown:
        raise ValueError(f"not in the feature table: {', '.join(sorted(unknown))}")
    chosen = []
    for feature in FEATURES:
        if feature.name in add:
            feature = replace(feature, wide=True, deep=True)
        if not feature.is_input or feature.name in drop:
            continue
        if feature.kind in ("id", "ids"):
            feature = replace(
                feature,
                buckets=min(feature.buckets, max_buckets or feature.buckets),
                embedding_dim=min(feature.embedding_dim, max_embedding_dim or feature.embedding_dim),
            )
        chosen.append(feature)
    if not chosen:
        raise ValueError("every feature was dropped")
    return tuple(chosen)


def columns() -> dict[str, DType]:
    """Returns name -> dtype of every column that feature engineering writes, keys first."""
    return {key.name: key.dtype for key in KEYS} | {feature.name: feature.dtype for feature in FEATURES}


def is_list(name: str) -> bool:
    """Whether the column holds several values a row."""
    return any(f.name == name and f.kind == "ids" for f in FEATURES)
