"""The feature table: the one definition of every column between the raw tables and the model.

The columns that feature engineering writes, the tf.Example spec, schema.pbtxt, the preprocessing_fn, the model's inputs, the
serving signature and the tables of docs and summary are all derived from `FEATURES` and `KEYS`. To add a feature, add a row here,
a pure function in transforms/ that computes the column, and a golden row in a test.

Names, bucket counts, embedding sizes and what is on by default are those of NVIDIA's Wide & Deep for the Outbrain data,
with the spelling mended.
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
class Aspect:
    """A kind of thing that documents are about, each with a confidence.

    Attributes:
        name: `category`, `topic` or `entity`; the CTR features are called after it.
        plural: The similarity features are called after it.
        table: Role of the table; its columns are document_id, `id_column`, confidence_level.
        id_column: Role of the aspect's id.
        dtype: Type of the id.
        hotness: How many of a document's ids the model sees: those of highest confidence, ties by id.
        buckets: Hash buckets of the ids.
    """

    name: str
    plural: str
    table: str
    id_column: str
    dtype: DType
    hotness: int
    buckets: int


ASPECTS: tuple[Aspect, ...] = (
    Aspect("entity", "entities", "documents_entities", "entity_id", "string", 6, 10_000),
    Aspect("topic", "topics", "documents_topics", "topic_id", "int64", 3, 350),
    Aspect("category", "categories", "documents_categories", "category_id", "int64", 3, 100),
)


@dataclass(frozen=True, slots=True)
class CtrGroup:
    """A grouping of the click log whose click-through rate is a feature, with its confidence and their product.

    Attributes:
        feature: Name of the CTR feature; `feature`_conf and `feature`_conf_multipl are the others.
        key: Columns that form the group, besides the aspect; a null in any of them gives a missing CTR.
        min_views: The CTR is missing unless the group has more than this many views.
        about: What the group is.
        inputs: Which of the three columns the model sees: "", "_conf", "_conf_multipl".
        aspect: Name of the aspect of the ad's document that is part of the key; a row then belongs to a group for each of the
            document's aspects, and their CTRs are combined.
        per_ad: Whether the confidence is by views per distinct ad of the group, not by views.
        views_feature: Name of the feature that holds the group's views, if there is one.
        tables: Roles of the optional tables that the key comes from.
    """

    feature: str
    key: tuple[str, ...]
    min_views: int
    about: str
    inputs: tuple[str, ...] = ()
    aspect: str = ""
    per_ad: bool = True
    views_feature: str = ""
    tables: tuple[str, ...] = ()


_META = ("documents_meta",)
_VALUE, _CONF, _PRODUCT = "", "_conf", "_conf_multipl"


def _aspect_groups(aspect: Aspect, min_views: int) -> tuple[CtrGroup, CtrGroup]:
    """The CTR by aspect and by country and aspect."""
    stem, tables = f"pop_{aspect.name}_id", (aspect.table,)
    about = f"{aspect.plural} of the ad's document"
    return (
        CtrGroup(stem, (), min_views, about, (_VALUE, _CONF), aspect.name, tables=tables),
        CtrGroup(f"{stem}_country", ("event_country",), min_views, f"country and {about}", (), aspect.name, tables=tables),
    )


_ENTITY, _TOPIC, _CATEGORY = ASPECTS

LATENT_ASPECTS = (_TOPIC, _CATEGORY)
"""The aspects that the latent directions of documents are made of: those of few distinct ids."""

USER_LATENT, DOCUMENT_LATENT = "user_doc_ad_sim_latent", "doc_event_doc_ad_sim_latent"
"""The features that compare documents by latent directions; see transforms/latent.py."""

CTR_GROUPS: tuple[CtrGroup, ...] = (
    CtrGroup("pop_ad_id", ("ad_id",), 5, "ad", (_VALUE, _CONF), per_ad=False, views_feature="ad_views"),
    CtrGroup("pop_document_id", ("doc_id",), 5, "ad's document", (_VALUE, _CONF), views_feature="doc_views"),
    CtrGroup("pop_doc_event_doc_ad", ("doc_event_id", "doc_id"), 5, "event's document and ad's document"),
    CtrGroup("pop_source_id", ("doc_ad_source_id",), 10, "source of the ad's document", (_VALUE, _CONF), tables=_META),
    CtrGroup(
        "pop_source_id_country", ("event_country", "doc_ad_source_id"), 5, "country and source of the ad's document", tables=_META
    ),
    CtrGroup("pop_publisher_id", ("doc_ad_publisher_id",), 10, "publisher of the ad's document", (_VALUE, _CONF), tables=_META),
    CtrGroup("pop_advertiser_id", ("ad_advertiser",), 10, "advertiser", (_VALUE, _CONF)),
    CtrGroup("pop_campaign_id", ("ad_campaign",), 10, "campaign", (_VALUE, _PRODUCT)),
    *_aspect_groups(_CATEGORY, 10),
    *_aspect_groups(_TOPIC, 10),
    *_aspect_groups(_ENTITY, 5),
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


def _indicator(name: str, buckets: int, about: str, level: Level = "request", tables: tuple[str, ...] = ()) -> Feature:
    return Feature(name, level, "indicator", "int64", about, tables=tables, buckets=buckets)


def _number(
    name: str,
    level: Level,
    dtype: DType,
    scale: Scale,
    missing: Missing,
    about: str,
    tables: tuple[str, ...] = (),
    is_input: bool = True,
) -> Feature:
    return Feature(name, level, "numeric", dtype, about, tables=tables, scale=scale, missing=missing, wide=is_input, deep=is_input)


def _with_confidence(
    stem: str, about: str, inputs: tuple[str, ...], missing: Missing, tables: tuple[str, ...] = ()
) -> Iterable[Feature]:
    """A value, its confidence and their product; a confidence is not scaled, as in the reference."""
    for suffix, scale, what in (
        (_VALUE, "log1000", ""),
        (_CONF, "raw", "confidence of the "),
        (_PRODUCT, "log1000", "confidence times the "),
    ):
        fill: Missing = "zero" if suffix == _CONF else missing
        yield _number(f"{stem}{suffix}", "item", "float32", scale, fill, what + about, tables, suffix in inputs)  # type: ignore[arg-type]


def _aspect_lists(side: str, level: Level, whose: str) -> Iterable[Feature]:
    for aspect in ASPECTS:
        yield Feature(
            f"{side}_{aspect.name}_id",
            level,
            "ids",
            aspect.dtype,
            f"{aspect.plural} of the {whose}, the {aspect.hotness} of highest confidence",
            tables=(aspect.table,),
            buckets=aspect.buckets,
            embedding_dim=64,
            hotness=aspect.hotness,
        )


def _ctr_features() -> Iterable[Feature]:
    for group in CTR_GROUPS:
        yield from _with_confidence(
            group.feature, f"CTR of the {group.about}, as of the display", group.inputs, "mean", group.tables
        )
        if group.views_feature:
            about = f"views of the {group.about}, as of the display"
            yield _number(group.views_feature, "item", "int64", "log", "zero", about)


def _similarity_features() -> Iterable[Feature]:
    for side, whose, tables in (
        ("user_doc_ad_sim", "what the user viewed before the display", ("documents_meta", "page_views")),
        ("doc_event_doc_ad_sim", "the event's document", _META),
    ):
        for aspect in ASPECTS:
            # The reference gives the model the confidences of two of the user's similarities, and no others.
            conf = (_CONF,) if side == "user_doc_ad_sim" and aspect.name != "entity" else ()
            about = f"cosine of the {aspect.plural} of {whose} and of the ad's document"
            stem = f"{side}_{aspect.plural}"
            yield from _with_confidence(stem, about, (_VALUE, *conf), "zero", (*tables, aspect.table))


def _latent_features() -> Iterable[Feature]:
    for name, whose, tables in (
        (USER_LATENT, "what the user viewed before the display", (*_META, "page_views")),
        (DOCUMENT_LATENT, "the event's document", _META),
    ):
        tables = (*tables, *(aspect.table for aspect in LATENT_ASPECTS))
        about = f"cosine of {whose} and the ad's document in latent directions of topics and categories"
        yield _number(name, "item", "float32", "raw", "zero", about, tables, is_input=False)


_VIEWS = ("page_views",)

FEATURES: tuple[Feature, ...] = (
    _id("doc_event_id", "request", 300_000, 128, "document that shows the display"),
    _id("doc_event_source_id", "request", 4_000, 64, "its source", tables=_META),
    _id("doc_event_publisher_id", "request", 1_000, 64, "its publisher", tables=_META),
    *_aspect_lists("doc_event", "request", "event's document"),
    _id("event_country", "request", 300, 64, "country code", dtype="string"),
    _id("event_country_state", "request", 2_000, 64, "country and state, `US>CA`", dtype="string"),
    _id("event_geo_location", "request", 2_500, 64, "country, state and DMA, `US>CA>803`", dtype="string"),
    _indicator("event_platform", 3, "0 desktop, 1 mobile, 2 tablet"),
    _indicator("event_hour", 6, "local hour: 5-7, 8-10, 11-13, 14-18, 19-21, 22-4"),
    _indicator("event_weekend", 2, "1 on a local Saturday or Sunday"),
    _indicator("traffic_source", 3, "0 internal, 1 search, 2 social: of the page view that led to the display", tables=_VIEWS),
    _number("doc_event_hour", "request", "int64", "log", "zero", "event_hour as a number"),
    _number(
        "doc_event_days_since_published", "request", "int64", "log", "zero", "age of the event's document, 0 to 3650 days", _META
    ),
    _number("user_views", "request", "int64", "log", "zero", "page views of the user before the display", _VIEWS),
    _id("ad_id", "item", 250_000, 128, "ad"),
    _id("doc_id", "item", 100_000, 128, "the ad's document"),
    _id("ad_campaign", "item", 5_000, 64, "campaign; not an input of the reference model", wide=False, deep=False),
    _id("ad_advertiser", "item", 2_500, 64, "advertiser"),
    _id("doc_ad_source_id", "item", 4_000, 64, "source of the ad's document", tables=_META),
    _id("doc_ad_publisher_id", "item", 1_000, 64, "publisher of the ad's document", tables=_META),
    *_aspect_lists("doc_ad", "item", "ad's document"),
    _indicator("user_has_already_viewed_doc", 2, "1 if the user viewed the ad's document before the display", "item", _VIEWS),
    _number("doc_ad_days_since_published", "item", "int64", "log", "zero", "age of the ad's document, 0 to 3650 days", _META),
    *_ctr_features(),
    *_similarity_features(),
    *_latent_features(),
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
