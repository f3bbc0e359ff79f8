"""The configuration: one tree of frozen models, every key with its default, its meaning and its bounds.

A component receives only the sub-trees that it reads (`pipeline/graph.py`), so that changing the gate does not retrain a model.
Loading files and `--set` is the business of `pipeline/config.py`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas import features

LOCAL_BEAM_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""Beam's runner within one process. Named in full, as Beam's default first tries to download another one."""

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class IngestConfig(_Section):
    """Reading the raw tables."""

    max_bad_fraction: Fraction = Field(1e-4, description="The run stops if more than this share of the rows read is bad.")
    max_unknown_ads: Fraction = Field(
        0.1, description="The run stops if promoted_content lacks the ads of more than this share of rows."
    )
    block_bytes: PositiveInt = Field(8 << 20, description="Bytes of CSV text parsed at a time.")


class SplitConfig(_Section):
    """Which displays train and which evaluate. A display is never in both."""

    eval_days: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (11, 12), description="Days of the log whose displays are evaluated on; later days are used for neither."
    )
    eval_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Share of the remaining displays evaluated on, too, by a stable hash of display_id."
    )

    @model_validator(mode="after")
    def _some_eval(self) -> "SplitConfig":
        if not self.eval_days and self.eval_fraction == 0.0:
            raise ValueError("eval_days is empty and eval_fraction is 0: no display would be evaluated on")
        return self


class FeaturesConfig(_Section):
    """Feature engineering."""

    history: Literal["past", "all"] = Field(
        "past",
        description="past: a row sees only what happened before it. all: it sees the whole log, its own label included, as "
        "published work does; for comparison with that only.",
    )
    delay_ms: Annotated[int, Field(ge=0)] = Field(
        0, description="A row sees only what happened before its display's timestamp minus this."
    )
    ctr_prior_views: Annotated[float, Field(ge=0)] = Field(
        10.0, description="Views' worth of prior (1 / ads in the display) in every CTR feature; 0 gives plain clicks / views."
    )
    ctr_min_views: dict[str, Annotated[int, Field(ge=0)]] = Field(
        {}, description="By CTR feature: missing unless its group has more than this many views. Others keep the reference's."
    )
    ctr_full_confidence_views: PositiveInt = Field(
        100_000,
        description="Views (per ad) from which on the confidence of a CTR is 1; below, it is ln(1 + views) / log2(1 + this).",
    )
    popularity_prior_views: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Views' worth of prior (1 / ads in the display) in the smoothed CTR of the popularity baseline."
    )
    partition_bytes: PositiveInt = Field(128 << 20, description="Bytes of raw input for each partition of the work.")

    @model_validator(mode="after")
    def _known_groups(self) -> "FeaturesConfig":
        unknown = set(self.ctr_min_views) - {group.feature for group in features.CTR_GROUPS}
        if unknown:
            raise ValueError(f"ctr_min_views: not a CTR feature: {', '.join(sorted(unknown))}")
        return self


class EncodingConfig(_Section):
    """How raw features become model inputs; read by Transform and Trainer."""

    add: tuple[str, ...] = Field((), description="Features of the feature table to switch on that are off by default.")
    drop: tuple[str, ...] = Field((), description="Features to leave out.")
    max_buckets: PositiveInt | None = Field(None, description="Upper bound on the hash buckets of every id.")

    @model_validator(mode="after")
    def _known(self) -> "EncodingConfig":
        features.model_inputs(add=self.add, drop=self.drop)
        return self


class ModelConfig(_Section):
    """The wide & deep model."""

    kind: Literal["wide_deep", "wide", "deep"] = Field("wide_deep", description="Which parts the model has.")
    hidden_units: tuple[PositiveInt, ...] = Field((1024,) * 5, description="Widths of the deep part's hidden layers.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.0, description="Dropout after each hidden layer.")
    max_embedding_dim: PositiveInt | None = Field(None, description="Upper bound on the width of every embedding.")


class OptimizerConfig(_Section):
    """One part's optimizer."""

    name: Literal["ftrl", "adagrad", "adam", "rmsprop", "sgd"]
    learning_rate: Annotated[float, Field(gt=0.0)]
    l1: Annotated[float, Field(ge=0.0)] = Field(0.0, description="L1 strength; FTRL only.")
    l2: Annotated[float, Field(ge=0.0)] = Field(0.0, description="L2 strength; FTRL only.")

    @model_validator(mode="after")
    def _l1_l2(self) -> "OptimizerConfig":
        if self.name != "ftrl" and (self.l1 or self.l2):
            raise ValueError(f"l1 and l2 are FTRL's; {self.name} has none")
        return self


class TrainerConfig(_Section):
    """Training."""

    strategy: Literal["none", "multi_worker"] = Field(
        "none", description="none: one process. multi_worker: MultiWorkerMirroredStrategy over `workers` local processes."
    )
    workers: PositiveInt = Field(1, description="Processes under multi_worker.")
    start_timeout_s: PositiveInt = Field(300, description="Seconds that all workers together have to form the cluster.")
    num_epochs: PositiveInt = Field(20, description="Passes over the train split.")
    global_batch_size: PositiveInt = Field(4096, description="Rows a step, over all workers.")
    wide_optimizer: OptimizerConfig = OptimizerConfig(name="ftrl", learning_rate=0.2)
    deep_optimizer: OptimizerConfig = OptimizerConfig(name="adagrad", learning_rate=0.05)
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seeds initial weights, shuffling and dropout.")

    @model_validator(mode="after")
    def _workers(self) -> "TrainerConfig":
        if self.strategy == "none" and self.workers != 1:
            raise ValueError(f"workers is {self.workers}, but strategy 'none' is one process; set trainer.strategy=multi_worker")
        if self.global_batch_size % self.workers:
            raise ValueError(f"global_batch_size {self.global_batch_size} is not divisible by workers {self.workers}")
        return self


class EvaluateConfig(_Section):
    """Evaluation."""

    slices: tuple[tuple[str, ...], ...] = Field(
        (("event_platform",), ("event_country",), ("ads_per_display",)),
        description="Columns by which the metrics are sliced; several columns in one entry are crossed.",
    )

    @model_validator(mode="after")
    def _known(self) -> "EvaluateConfig":
        unknown = {name for entry in self.slices for name in entry} - set(features.columns())
        if unknown:
            raise ValueError(f"slices: not a column: {', '.join(sorted(unknown))}")
        return self


class GateConfig(_Section):
    """When a model may go out."""

    min_gain_over_popularity: float = Field(0.005, description="MAP@12 must exceed the popularity baseline's by at least this.")
    max_loss_to_blessed: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="MAP@12 may be lower than the latest blessed model's by at most this."
    )


class PushConfig(_Section):
    """Where blessed models go."""

    directory: str | None = Field(None, description="Folder of the numbered versions; ROOT/serving unless given.")


class AuditConfig(_Section):
    """The leak audit of `clickrank features --audit`."""

    # Largest gaps of four synthetic logs of 20,000 displays: 0.0067 to 0.0103 with features.history=past, where all is honest;
    # 0.0206 to 0.0314 with history=all, where 6 to 9 columns of each log exceed 0.015.
    max_auc_gap: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.015,
        description="A feature alone may rank train rows better than eval rows by at most this much AUC, or by what chance "
        "explains where that is more (short logs).",
    )


class BeamConfig(_Section):
    """How Apache Beam runs the data-parallel parts."""

    runner: str = Field(LOCAL_BEAM_RUNNER, description="Beam's --runner.")
    args: tuple[str, ...] = Field((), description="Further Beam flags, as Beam spells them.")


class Config(_Section):
    """The whole tree."""

    ingest: IngestConfig = IngestConfig()
    split: SplitConfig = SplitConfig()
    features: FeaturesConfig = FeaturesConfig()
    encoding: EncodingConfig = EncodingConfig()
    model: ModelConfig = ModelConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    push: PushConfig = PushConfig()
    audit: AuditConfig = AuditConfig()
    beam: BeamConfig = BeamConfig()
