"""A small report made by hand, with every part there; and one with none."""

from dataclasses import fields

from pipeline.report import content
from pipeline.report.content import Absent, Estimate

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"

RUN = content.Run(
    "20260101-120000-abcd", "/somewhere/root", "/somewhere/data", 1767268800.0, 138.0, blessed_run="20251231-120000-0000"
)

FULL = content.Report(
    run=RUN,
    verdict=content.Verdict(
        True,
        ("MAP@12 is over 200 eval displays.", f"A reason from outside: {HOSTILE}"),
        (content.Check("eval_displays", True, "MAP@12 is over 200 eval displays."), content.Check("slices", False, "US is worse.")),
        content.Comparison(Estimate(0.01, 0.002, 0.018), 0.95, 0.006, 200, 10_000),
    ),
    infra=content.Infra(True, (content.Check("signatures", True, "Both signatures are there."),), 2.5, 7.25),
    evaluation=content.Evaluation(
        200,
        (
            content.Ranking("random", "any order", Estimate(0.48, 0.46, 0.50)),
            content.Ranking("popularity", "by CTR", Estimate(0.61, 0.58, 0.64)),
            content.Ranking("best single feature", "by pop_ad_id alone", Estimate(0.62)),
            content.Ranking("blessed model", "before this one", Estimate(0.68, 0.65, 0.71)),
            content.Ranking("this model", "of this run", Estimate(0.69, 0.66, 0.72)),
            content.Ranking("best possible", "knows", Estimate(0.72)),
        ),
        (content.Metric("auc", "pairs", 0.72, 0.71), content.Metric("log_loss", "lower is better", 0.44, None)),
    ),
    slices=content.Slices(
        "the blessed model",
        (
            content.Slice("event_platform", "0", "desktop", 120, Estimate(0.70, 0.67, 0.73), 0.6, Estimate(0.02, 0.01, 0.03), 0.9),
            content.Slice(
                "event_platform", "1", "mobile", 60, Estimate(0.5, 0.45, 0.55), 0.6, Estimate(-0.1, -0.2, -0.05), 0.001, True
            ),
            content.Slice("event_country", HOSTILE, "", 40, Estimate(0.6, 0.5, 0.7), 0.6, Estimate(0.0, -0.1, 0.1), 0.5),
            content.Slice("event_country", "CA", "", 3, Estimate(0.6), 0.6, Estimate(0.0), None),
        ),
    ),
    epochs=(
        content.Epoch(1, 0.5, 0.47, 0.66, 0.7, 0.7, 1.02, 3.0),
        content.Epoch(2, 0.45, 0.44, 0.69, 0.71, 0.72, 1.01, 3.1),
        content.Epoch(3, 0.44, 0.45, 0.68, 0.71, 0.71, 1.03, 3.0),
    ),
    calibration=(content.Bucket(100, 0.1, Estimate(0.12, 0.08, 0.17)), content.Bucket(100, 0.3, Estimate(0.5, 0.4, 0.6))),
    importance=content.Importance(
        (
            content.Group("ad_advertiser", ("ad_advertiser",), Estimate(0.04, 0.03, 0.05)),
            content.Group("pop_ad_id", ("pop_ad_id", "pop_ad_id_conf"), Estimate(-0.001, -0.002, 0.001)),
        ),
        150,
        200,
        3,
        0.69,
    ),
    statistics=content.Statistics(
        1000,
        200,
        (
            content.FeatureStats("user_views", "number", 0.25, 3.0, 1.5, 0.0, 2.0, 40.0, drift=0.2, shift=0.01),
            content.FeatureStats("event_country", "text", 0.0, distinct=25, top=HOSTILE, drift=0.02, shift=0.03),
        ),
        None,
        0.1,
    ),
    anomalies=(content.Anomaly("eval", f"event_country: {HOSTILE}"),),
    lineage=content.Lineage(
        "926bcfe31dbe7414d625b51a6a3c68c2",
        (
            content.Artifact(2, "examples", "artifacts/ClickExampleGen/examples/2", "ClickExampleGen", 2, (), True),
            content.Artifact(15, "model", "artifacts/Trainer/model/7", "Trainer", 7, (2,), False, "20251231-120000-0000"),
        ),
        (content.Artifact(1, "schema", "artifacts/CuratedSchema/schema/1", "CuratedSchema", 1, (), True),),
    ),
    nodes=(
        content.Node("ClickExampleGen", "cached", 0.1, 0.05, 2**30),
        content.Node("Transform", "finished", 55.0, 80.0, 2 * 2**30),
        content.Node("Trainer", "failed", 3.0, 4.0, 2**30, f"ValueError: {HOSTILE}"),
    ),
    settings=content.Settings(
        {"trainer.num_epochs": "3", "push.directory": HOSTILE},
        (content.Changed("trainer.num_epochs", "20", "3"),),
        (content.Changed("trainer.num_epochs", "4", "3"),),
    ),
)

PLOTS = (
    "plot-ranking",
    "plot-slices",
    "plot-map_at_12",
    "plot-log_loss",
    "plot-train_loss",
    "plot-calibration",
    "plot-importance",
    "plot-drift",
    "plot-nodes",
)
"""Of `FULL`, in the order of the page."""

EMPTY = content.Report(
    **{
        field.name: content.Run("20260101-120000-abcd", "/root", state="failed", note="Transform failed: no reason.")
        if field.name == "run"
        else Absent(f"No {field.name} was made.")
        for field in fields(content.Report)
    }
)
