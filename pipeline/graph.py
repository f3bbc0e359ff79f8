"""The TFX pipeline: a pure function of its arguments. Where it runs is the business of `pipeline/runners.py`."""

import hashlib
from pathlib import Path

from tfx import v1 as tfx
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec

from components.click_example_gen.component import ClickExampleGen
from components.curated_schema import SCHEMA_FILE, CuratedSchema
from components.evaluator.component import Evaluator
from components.gate.component import Gate
from components.infra_validator.component import InfraValidator
from components.leak_audit.component import LeakAudit
from components.prebatch.component import Prebatch
from components.pusher.executor import ONLY_NEW
from components.pusher.executor import Executor as PusherExecutor
from components.resolver import LatestBlessedOther
from components.strict_example_validator import StrictExampleValidator
from pipeline.beam import beam_args
from pipeline.code import module_digest
from pipeline.connection import connection_config
from pipeline.nodes import LEAK_AUDIT, SECTIONS, WARM_START_RESOLVER
from pipeline.paths import RootPaths
from schemas.config import LATEST_BLESSED, Config
from schemas.errors import ConfigError

PIPELINE_NAME = "clickrank"
PREPROCESSING = "transforms.preprocessing"
TRAINING = "components.trainer.run"


def create_pipeline(data: str, fingerprint: str, paths: RootPaths, config: Config, *, anew: bool = False) -> tfx.dsl.Pipeline:
    """Wires the pipeline.

    Each node receives only the sections of the configuration that it reads, and the digest of the code that it runs: what did not
    change is served from TFX's cache.

    Args:
        data: Folder of the raw tables.
        fingerprint: Digest of the raw tables.
        paths: Where everything goes.
        config: The whole configuration.
        anew: Whether every node runs, and none is served from the cache; a model that was in service before is not pushed again.
    """
    sections = config.model_dump(mode="json")

    example_gen = ClickExampleGen(
        data=data,
        fingerprint=fingerprint,
        code=module_digest("components.click_example_gen.executor"),
        config={name: sections[name] for name in SECTIONS["ClickExampleGen"]},
        rejects_dir=str(paths.rejects),
    )
    examples = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(examples=examples)
    schema = CuratedSchema(digest=hashlib.sha256(SCHEMA_FILE.read_bytes()).hexdigest())
    validator = StrictExampleValidator(statistics=statistics_gen.outputs["statistics"], schema=schema.outputs["schema"]).with_id(
        "ExampleValidator"
    )
    audit = None
    if config.audit.in_pipeline:
        audit = LeakAudit(
            examples=examples,
            config={name: sections[name] for name in SECTIONS[LEAK_AUDIT]},
            code=module_digest("components.leak_audit.executor"),
        )
    transform = tfx.components.Transform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn=f"{PREPROCESSING}.preprocessing_fn",
        custom_config={**{name: sections[name] for name in SECTIONS["Transform"]}, "code": module_digest(PREPROCESSING)},
    )
    # No arrow of data leads from the validator to what follows, but nothing is worth doing on data that it refuses.
    transform.add_upstream_node(validator)
    prebatch = Prebatch(
        examples=examples,
        transformed_examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        config={name: sections[name] for name in SECTIONS["Prebatch"]},
        code=module_digest("components.prebatch.executor"),
    )
    warm_start = {}
    if config.trainer.warm_start == LATEST_BLESSED:
        base = tfx.dsl.Resolver(
            strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
            model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
            model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
        ).with_id(WARM_START_RESOLVER)
        warm_start = {"base_model": base.outputs["model"]}
    trainer = tfx.components.Trainer(
        run_fn=f"{TRAINING}.run_fn",
        examples=prebatch.outputs["records"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config={
            **{name: sections[name] for name in SECTIONS["Trainer"]},
            "checkpoints": str(paths.checkpoints),
            "warm_start_map": _digest_of(config.trainer.warm_start_map),
            "code": module_digest(TRAINING),
        },
        **warm_start,
    )
    model = trainer.outputs["model"]
    serving = config.push.directory or str(paths.serving)
    resolver = tfx.dsl.Resolver(
        strategy_class=LatestBlessedOther,
        config={"serving": serving},
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
        candidate=model,
    ).with_id("Resolver")
    evaluator = Evaluator(
        examples=examples,
        model=model,
        baseline_model=resolver.outputs["model"],
        evaluate=config.evaluate,
        code=module_digest("components.evaluator.executor"),
    )
    gate = Gate(
        evaluation=evaluator.outputs["evaluation"],
        model=model,
        baseline_model=resolver.outputs["model"],
        audit=audit.outputs["audit"] if audit else None,
        gate=config.gate,
        code=module_digest("components.gate.executor"),
    )
    infra_validator = InfraValidator(
        model=model,
        examples=examples,
        infra=config.infra,
        code=module_digest("components.infra_validator.executor"),
    )
    pusher = tfx.components.Pusher(
        model=model,
        model_blessing=gate.outputs["blessing"],
        infra_blessing=infra_validator.outputs["infra_blessing"],
        push_destination=tfx.proto.PushDestination(filesystem=tfx.proto.PushDestination.Filesystem(base_directory=serving)),
        custom_config={ONLY_NEW: True} if anew else None,
        custom_executor_spec=ExecutorClassSpec(PusherExecutor),
    )
    nodes = [example_gen, statistics_gen, schema, validator, *([audit] if audit else []), transform, prebatch]
    nodes += [base] if warm_start else []
    nodes += [trainer, resolver, evaluator, gate, infra_validator, pusher]
    return tfx.dsl.Pipeline(
        pipeline_name=PIPELINE_NAME,
        pipeline_root=str(paths.artifacts),
        components=nodes,
        enable_cache=not anew,
        metadata_connection_config=connection_config(paths),
        beam_pipeline_args=list(beam_args(config.beam)),
    )


def _digest_of(path: str | None) -> str:
    """Digest of a file that the configuration only names."""
    if path is None:
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"trainer.warm_start_map {path}: {error.strerror}") from error
