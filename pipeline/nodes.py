"""The names of the pipeline's nodes, at hand without importing TFX."""

NODES = (
    "ClickExampleGen",
    "StatisticsGen",
    "CuratedSchema",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Resolver",
    "Evaluator",
    "Gate",
    "Pusher",
)
"""The nodes in the order in which they run."""

NEVER_CACHED = ("Pusher",)
"""Nodes that run every time: TFX's cache knows nothing of the serving folder, and a push that is not needed does nothing."""
