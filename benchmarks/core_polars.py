"""The core of feature engineering, written by hand in polars: python -m benchmarks.core_polars DATA OUT.parquet."""

import sys
from pathlib import Path

import polars as pl

PRIOR_VIEWS, MIN_VIEWS = 10.0, 5


def compute(data: Path, out: Path) -> None:
    """Writes the columns of `benchmarks.features.CORE_COLUMNS` for every labelled ad shown."""
    clicks = pl.scan_csv(data / "clicks_train.csv")
    events = pl.scan_csv(data / "events.csv").select("display_id", "uuid", "timestamp")
    views = pl.scan_csv(data / "page_views.csv").select("uuid", "document_id", viewed="timestamp")
    ads = pl.scan_csv(data / "promoted_content.csv").select("ad_id", "document_id")
    total = pl.scan_csv(data / "documents_meta.csv").select(pl.col("document_id").n_unique()).collect().item()

    topics = pl.scan_csv(data / "documents_topics.csv")
    squared_idf = topics.group_by("topic_id").agg(weight=(total / pl.len()).log() ** 2)
    topics = topics.join(squared_idf, on="topic_id").cache()

    rows = clicks.join(events, on="display_id").join(ads, on="ad_id", how="left")
    rows = rows.with_columns(ads_per_display=pl.len().over("display_id")).collect().lazy()

    # As of a moment: the sums over all moments before it, of one ad.
    moments = rows.group_by("ad_id", "timestamp").agg(clicks=pl.col("clicked").sum(), views=pl.len()).sort("ad_id", "timestamp")
    moments = moments.with_columns(
        clicks=pl.col("clicks").cum_sum().over("ad_id") - pl.col("clicks"),
        ad_views=(pl.col("views").cum_sum().over("ad_id") - pl.col("views")).cast(pl.Int64),
    ).drop("views")
    rate = (pl.col("clicks") + PRIOR_VIEWS / pl.col("ads_per_display")) / (pl.col("ad_views") + PRIOR_VIEWS)
    known = pl.col("ad_views") > MIN_VIEWS

    displays = rows.select("display_id", "uuid", "timestamp").unique("display_id")
    seen = displays.join(views, on="uuid").filter(pl.col("viewed") < pl.col("timestamp"))
    seen = seen.group_by("display_id", "document_id").agg(times=pl.len()).collect(engine="streaming").lazy()
    user_views = seen.group_by("display_id").agg(user_views=pl.col("times").sum().cast(pl.Int64))
    profile = (
        seen.join(topics, on="document_id")
        .group_by("display_id", "topic_id")
        .agg(amount=(pl.col("times") * pl.col("confidence_level")).sum(), weight=pl.col("weight").first())
        .collect(engine="streaming")
        .lazy()
    )
    norms = profile.group_by("display_id").agg(profile_norm=(pl.col("amount") ** 2 * pl.col("weight")).sum().sqrt())
    document_norms = topics.group_by("document_id").agg(
        document_norm=(pl.col("confidence_level") ** 2 * pl.col("weight")).sum().sqrt()
    )
    dots = (
        rows.select("display_id", "ad_id", "document_id")
        .join(topics, on="document_id")
        .join(profile.select("display_id", "topic_id", "amount"), on=["display_id", "topic_id"])
        .group_by("display_id", "ad_id")
        .agg(dot=(pl.col("amount") * pl.col("confidence_level") * pl.col("weight")).sum())
    )
    norm = pl.col("profile_norm") * pl.col("document_norm")
    result = (
        rows.join(moments, on=["ad_id", "timestamp"])
        .join(user_views, on="display_id", how="left")
        .join(norms, on="display_id", how="left")
        .join(document_norms, on="document_id", how="left")
        .join(dots, on=["display_id", "ad_id"], how="left")
        .select(
            "display_id",
            "ad_id",
            user_views=pl.col("user_views").fill_null(0),
            ad_views=pl.when(known).then("ad_views"),
            pop_ad_id=pl.when(known).then(rate),
            user_doc_ad_sim_topics=pl.when(norm > 0).then(pl.col("dot").fill_null(0.0) / norm),
        )
    )
    result.collect(engine="streaming").write_parquet(out)


if __name__ == "__main__":
    compute(Path(sys.argv[1]), Path(sys.argv[2]))
