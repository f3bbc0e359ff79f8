"""The names of the pipeline's nodes, at hand without importing TFX."""

from schemas.config import LATEST_BLESSED, Config

WARM_START_RESOLVER = "WarmStartResolver"

NODES = (
    "ClickExampleGen",
    "StatisticsGen",
    "CuratedSchema",
    "ExampleValidator",
    "Transform",
    "Prebatch",
    WARM_START_RESOLVER,
    "Trainer",
    "Resolver",
    "Evaluator",
    "Gate",
    "InfraValidator",
    "Pusher",
)
"""All nodes there can be; each after those whose outputs it needs."""


def nodes_for(config: Config) -> tuple[str, ...]:
    """Returns the nodes of a run under `config`."""
    return tuple(name for name in NODES if name != WARM_START_RESOLVER or config.trainer.warm_start == LATEST_BLESSED)


NEVER_CACHED = ("InfraValidator", "Pusher")
"""Nodes that run every time. The infra check is of the machine, too: what failed for lack of memory or time must not stay so. And
TFX's cache knows nothing of the serving folder; a push that is not needed does nothing."""

SECTIONS = {
    "ClickExampleGen": ("ingest", "split", "features"),
    "Transform": ("encoding",),
    "Prebatch": ("prebatch", "encoding"),
    "Trainer": ("encoding", "model", "trainer", "features"),
    "Evaluator": ("evaluate",),
    "Gate": ("gate",),
    "InfraValidator": ("infra",),
    "Pusher": ("push",),
}
"""The sections of the configuration that each node reads, and no others: what a node does not read does not make it run again."""
