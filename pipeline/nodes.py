"""The names of the pipeline's nodes, at hand without importing TFX."""

from schemas.config import LATEST_BLESSED, Config

LEAK_AUDIT = "LeakAudit"
WARM_START_RESOLVER = "WarmStartResolver"

NODES = (
    "ClickExampleGen",
    "StatisticsGen",
    "CuratedSchema",
    "ExampleValidator",
    LEAK_AUDIT,
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
    left_out = {LEAK_AUDIT} if not config.audit.in_pipeline else set()
    left_out |= {WARM_START_RESOLVER} if config.trainer.warm_start != LATEST_BLESSED else set()
    return tuple(name for name in NODES if name not in left_out)


NEVER_CACHED = ("InfraValidator", "Pusher")
"""Nodes that run every time. The infra check is of the machine, too: what failed for lack of memory or time must not stay so. And
TFX's cache knows nothing of the serving folder; a push that is not needed does nothing."""

SECTIONS = {
    "ClickExampleGen": ("ingest", "split", "features"),
    LEAK_AUDIT: ("audit", "features"),
    "Transform": ("encoding",),
    "Prebatch": ("prebatch", "encoding"),
    "Trainer": ("encoding", "model", "trainer", "features"),
    "Evaluator": ("evaluate",),
    "Gate": ("gate",),
    "InfraValidator": ("infra",),
    "Pusher": ("push",),
}
"""The sections of the configuration that each node reads, and no others: what a node does not read does not make it run again."""
