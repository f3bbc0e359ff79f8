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
