"""The core of feature engineering, written by hand in SQL for duckdb: python -m benchmarks.core_duckdb DATA OUT.parquet."""

import sys
from pathlib import Path

import duckdb

PRIOR_VIEWS, MIN_VIEWS = 10.0, 5

_SQL = f"""
CREATE TABLE topics AS
  WITH raw AS (SELECT * FROM read_csv('{{data}}/documents_topics.csv')),
  total AS (SELECT count(DISTINCT document_id) AS n FROM read_csv('{{data}}/documents_meta.csv'))
  SELECT document_id, topic_id, confidence_level AS confidence, ln(n / count(*) OVER (PARTITION BY topic_id)) ^ 2 AS weight
  FROM raw, total;
CREATE TABLE shown AS
  SELECT display_id, ad_id, clicked, uuid, timestamp, document_id, count(*) OVER (PARTITION BY display_id) AS ads_per_display
  FROM read_csv('{{data}}/clicks_train.csv')
  JOIN (
    SELECT display_id, uuid, timestamp FROM read_csv('{{data}}/events.csv', types={{{{'platform': 'VARCHAR'}}}})
  ) USING (display_id)
  LEFT JOIN (SELECT ad_id, document_id FROM read_csv('{{data}}/promoted_content.csv')) USING (ad_id);
CREATE TABLE seen AS
  SELECT display_id, views.document_id, count(*) AS times
  FROM (SELECT DISTINCT display_id, uuid, timestamp FROM shown) AS displays
  JOIN read_csv('{{data}}/page_views.csv', types={{{{'platform': 'VARCHAR'}}}}) AS views
    ON views.uuid = displays.uuid AND views.timestamp < displays.timestamp
  GROUP BY ALL;
CREATE TABLE profile AS
  SELECT display_id, topic_id, sum(times * confidence) AS amount, any_value(weight) AS weight
  FROM seen JOIN topics USING (document_id) GROUP BY display_id, topic_id;
CREATE TABLE result AS
  WITH history AS (
    SELECT display_id, ad_id, document_id, ads_per_display,
      coalesce(sum(clicked) OVER before, 0) AS clicks, count(*) OVER before AS ad_views
    FROM shown WINDOW before AS (PARTITION BY ad_id ORDER BY timestamp RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
  ),
  user_views AS (SELECT display_id, sum(times)::BIGINT AS user_views FROM seen GROUP BY display_id),
  profile_norms AS (SELECT display_id, sqrt(sum(amount ^ 2 * weight)) AS profile_norm FROM profile GROUP BY display_id),
  document_norms AS (SELECT document_id, sqrt(sum(confidence ^ 2 * weight)) AS document_norm FROM topics GROUP BY document_id),
  dots AS (
    SELECT display_id, ad_id, sum(amount * confidence * topics.weight) AS dot
    FROM shown JOIN topics USING (document_id) JOIN profile USING (display_id, topic_id) GROUP BY display_id, ad_id
  )
  SELECT display_id, ad_id, coalesce(user_views, 0) AS user_views,
    CASE WHEN ad_views > {MIN_VIEWS} THEN ad_views END AS ad_views,
    CASE WHEN ad_views > {MIN_VIEWS}
      THEN (clicks + {PRIOR_VIEWS}::DOUBLE / ads_per_display) / (ad_views + {PRIOR_VIEWS}) END AS pop_ad_id,
    CASE WHEN profile_norm * document_norm > 0
      THEN coalesce(dot, 0) / (profile_norm * document_norm) END AS user_doc_ad_sim_topics
  FROM history
  LEFT JOIN user_views USING (display_id)
  LEFT JOIN profile_norms USING (display_id)
  LEFT JOIN document_norms USING (document_id)
  LEFT JOIN dots USING (display_id, ad_id);
COPY result TO '{{out}}' (FORMAT parquet);
"""


def compute(data: Path, out: Path) -> None:
    """Writes the columns of `benchmarks.features.CORE_COLUMNS` for every labelled ad shown."""
    with duckdb.connect() as connection:
        connection.execute(_SQL.format(data=data, out=out))


if __name__ == "__main__":
    compute(Path(sys.argv[1]), Path(sys.argv[2]))
