"""The names of the pipeline's nodes, at hand without importing TFX."""

NODES = (
    "ClickExampleGen",
    "StatisticsGen",
    "CuratedSchema",
    "ExampleValidator",
    "Transform",
    "Prebatch",
    "Trainer",
    "Resolver",
    "Evaluator",
    "Gate",
    "Pusher",
)
"""The nodes; each after those whose outputs it needs."""

NEVER_CACHED = ("Pusher",)
"""Nodes that run every time: TFX's cache knows nothing of the serving folder, and a push that is not needed does nothing."""

SECTIONS = {
    "ClickExampleGen": ("ingest", "split", "features"),
    "Transform": ("encoding",),
    "Prebatch": ("prebatch", "encoding"),
    "Trainer": ("encoding", "model", "trainer", "features"),
    "Evaluator": ("evaluate",),
    "Gate": ("gate",),
    "Pusher": ("push",),
}
"""The sections of the configuration that each node reads, and no others: what a node does not read does not make it run again."""
