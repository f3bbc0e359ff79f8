"""The configuration: one tree of frozen models, every key with its default, its meaning and its bounds.

A component receives only the sub-trees that it reads (`pipeline/graph.py`), so that changing the gate does not retrain a model.
Loading files and `--set` is the business of `pipeline/config.py`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas import features
from schemas.beam import BeamConfig
from schemas.kubeflow import KubeflowConfig
from schemas.losses import find_loss
from schemas.metadata import MetadataConfig
from schemas.section import Section, refuse_foreign
from schemas.training_job import TrainingJobConfig

LATEST_BLESSED = "latest_blessed"
"""The value of `trainer.warm_start` that means the latest blessed model."""

DEFAULT_BATCH_SIZE = 1024

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class IngestConfig(Section):
    """Reading the raw tables."""

    max_bad_fraction: Fraction = Field(1e-4, description="The run stops if more than this share of the rows read is bad.")
    max_unknown_ads: Fraction = Field(
        0.1, description="The run stops if promoted_content lacks the ads of more than this share of rows."
    )
    block_bytes: PositiveInt = Field(8 << 20, description="Bytes of CSV text parsed at a time.")


class SplitConfig(Section):
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


class FeaturesConfig(Section):
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


class EncodingConfig(Section):
    """How raw features become model inputs; read by Transform and Trainer."""

    add: tuple[str, ...] = Field((), description="Features of the feature table to switch on that are off by default.")
    drop: tuple[str, ...] = Field((), description="Features to leave out.")
    max_buckets: PositiveInt | None = Field(None, description="Upper bound on the hash buckets of every id.")

    def inputs(self, max_embedding_dim: int | None = None) -> tuple[features.Feature, ...]:
        """Returns the features that the model sees, embeddings no wider than `max_embedding_dim`.

        Raises:
            ValueError: See `features.model_inputs`.
        """
        return features.model_inputs(
            add=self.add, drop=self.drop, max_buckets=self.max_buckets, max_embedding_dim=max_embedding_dim
        )

    @model_validator(mode="after")
    def _known(self) -> "EncodingConfig":
        self.inputs()
        return self


class PrebatchConfig(Section):
    """The records that the Trainer reads."""

    prebatch_size: PositiveInt = Field(4096, description="Rows of a record; a record holds whole displays.")
    shards: PositiveInt = Field(
        8, description="Shards of each split. Every worker reads its own; the number of replicas in training must divide it."
    )
    file_bytes: PositiveInt = Field(128 << 20, description="Bytes of a file, roughly; a shard may have several.")


class ModelConfig(Section):
    """The model; docs/models.md has the formulas. Sizes, dropout and crosses are let pass by every kind; other keys only by kinds
    that use them.
    """

    kind: Literal["wide_deep", "wide", "deep", "dnn", "gam", "custom"] = Field(
        "wide_deep",
        description="wide_deep, or one of its parts; dnn: a network on all inputs; gam: a sum of towers, one an item feature; "
        "custom: your own.",
    )
    hidden_units: tuple[PositiveInt, ...] = Field((1024,) * 5, description="Widths of wide_deep's, deep's and dnn's hidden layers.")
    gam_hidden_units: tuple[PositiveInt, ...] = Field((64, 32), description="Widths of the hidden layers of each of gam's towers.")
    activation: Literal["relu", "elu", "gelu", "selu", "sigmoid", "swish", "tanh"] = Field(
        "relu", description="Activation of the hidden layers."
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.0, description="Dropout after each hidden layer.")
    batch_norm: bool = Field(False, description="Batch normalization before each hidden layer's activation.")
    input_batch_norm: bool = Field(False, description="Batch normalization of what the first hidden layer sees.")
    batch_norm_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.999, description="Share of the moving averages of batch normalization that a step keeps."
    )
    max_embedding_dim: PositiveInt | None = Field(None, description="Upper bound on the width of every embedding.")
    crosses: tuple[tuple[str, str], ...] = Field(
        (),
        description="Pairs of ids or indicators whose combinations get a weight each in the wide part, e.g. "
        "[[ad_advertiser, event_platform]].",
    )
    cross_buckets: PositiveInt = Field(100_000, description="Buckets of each cross.")
    custom: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")] | None = Field(
        None, description="kind=custom: package.module:function; function(features, config) returns a tf_keras.Model."
    )
    allowed_packages: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")], ...] = Field(
        (), description="Packages that `custom` may be of; those within them are allowed, too."
    )

    def allows(self, module: str) -> bool:
        """Whether a module is one of `allowed_packages`, or within one."""
        return any(module == package or module.startswith(f"{package}.") for package in self.allowed_packages)

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> "ModelConfig":
        networks = {"wide_deep", "deep", "dnn", "gam", "custom"}
        users = {
            "gam_hidden_units": {"gam", "custom"},
            "activation": networks,
            "batch_norm": networks,
            "input_batch_norm": networks,
            "batch_norm_momentum": networks,
            "custom": {"custom"},
        }
        for key, kinds in users.items():
            if self.kind not in kinds and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is set, but kind {self.kind!r} does not use it; these do: {', '.join(sorted(kinds))}")
        return self

    @model_validator(mode="after")
    def _known_crosses(self) -> "ModelConfig":
        single = {f.name for f in features.FEATURES if f.kind in ("id", "indicator")}
        for pair in self.crosses:
            wrong = [name for name in pair if name not in single]
            if wrong or pair[0] == pair[1]:
                raise ValueError(f"crosses: a cross is of two different ids or indicators. Received: {', '.join(pair)}")
        if len({frozenset(pair) for pair in self.crosses}) != len(self.crosses):
            raise ValueError("crosses: a pair is there twice")
        return self

    @model_validator(mode="after")
    def _custom_is_allowed(self) -> "ModelConfig":
        if self.kind == "custom":
            if self.custom is None:
                raise ValueError("kind 'custom' needs model.custom, package.module:function")
            if not self.allows(self.custom.partition(":")[0]):
                raise ValueError(f"custom: {self.custom!r} is in none of allowed_packages")
        return self


_DECAY_KEYS = ("decay_steps", "decay_epochs", "min_learning_rate")
_SCHEDULE_KEYS = {
    "constant": (),
    "exponential": (*_DECAY_KEYS, "decay_rate", "staircase"),
    "cosine": _DECAY_KEYS,
    "polynomial": (*_DECAY_KEYS, "power"),
    "piecewise": ("boundaries", "boundary_epochs", "values"),
}
"""The keys of `ScheduleConfig` that each kind has, beside those of the warm-up."""


class ScheduleConfig(Section):
    """How a learning rate changes by step. Steps count from 0; what follows a warm-up counts from its end."""

    kind: Literal["constant", "exponential", "cosine", "piecewise", "polynomial"] = Field(
        "constant", description="Course of the learning rate after the warm-up."
    )
    warmup_steps: PositiveInt | None = Field(None, description="Steps of the linear warm-up: learning_rate * step / this; or none.")
    warmup_epochs: Annotated[float, Field(gt=0.0)] | None = Field(None, description="The same in epochs.")
    decay_steps: PositiveInt | None = Field(
        None,
        description="exponential: steps in which the rate is multiplied by decay_rate. cosine, polynomial: steps to the end; those "
        "of the whole training unless given.",
    )
    decay_epochs: Annotated[float, Field(gt=0.0)] | None = Field(None, description="The same in epochs.")
    decay_rate: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(None, description="Factor in decay_steps; exponential only.")
    staircase: bool = Field(False, description="Multiply once every decay_steps, and not a little at each step; exponential only.")
    min_learning_rate: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="Where the decay ends; 0 unless given. The warm-up starts below it. exponential, cosine, polynomial."
    )
    power: Annotated[float, Field(gt=0.0)] | None = Field(None, description="Exponent, 1 unless given; polynomial only.")
    boundaries: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="Last step of each value but the last one, ascending; piecewise only."
    )
    boundary_epochs: tuple[Annotated[float, Field(ge=0.0)], ...] | None = Field(None, description="The same in epochs.")
    values: tuple[Annotated[float, Field(ge=0.0)], ...] | None = Field(
        None, description="Learning rates, one more than boundaries; piecewise only."
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> "ScheduleConfig":
        refuse_foreign(self, self.kind, _SCHEDULE_KEYS)
        for pair in (("warmup_steps", "warmup_epochs"), ("decay_steps", "decay_epochs"), ("boundaries", "boundary_epochs")):
            given = [key for key in pair if getattr(self, key) is not None]
            if len(given) == 2:
                raise ValueError(f"{pair[0]} and {pair[1]} are both set; set one")
            ends_with_training = pair[0] == "decay_steps" and self.kind in ("cosine", "polynomial")
            if not given and pair[0] in _SCHEDULE_KEYS[self.kind] and not ends_with_training:
                raise ValueError(f"{self.kind} needs {pair[0]} or {pair[1]}")
        if self.kind == "exponential" and self.decay_rate is None:
            raise ValueError("exponential needs decay_rate")
        if self.kind == "piecewise":
            bounds = self.boundaries or self.boundary_epochs or ()
            if len(self.values or ()) != len(bounds) + 1:
                raise ValueError(f"values are one more than boundaries. Received: {len(self.values or ())} and {len(bounds)}")
            if list(bounds) != sorted(set(bounds)):
                raise ValueError(f"boundaries must ascend. Received: {list(bounds)}")
        return self


_OPTIMIZER_KEYS = {
    "ftrl": ("initial_accumulator", "l1", "l2"),
    "adagrad": ("initial_accumulator", "epsilon"),
    "adam": ("beta_1", "beta_2", "epsilon", "l2"),
    "rmsprop": ("rho", "momentum", "epsilon"),
    "sgd": (),
    "momentum": ("momentum",),
}
"""The keys of `OptimizerConfig` that each optimizer has, beside `learning_rate` and `schedule`."""


class OptimizerConfig(Section):
    """One part's optimizer."""

    name: Literal["ftrl", "adagrad", "adam", "rmsprop", "sgd", "momentum"] = Field(
        description="Which one; formulas: docs/training.md."
    )
    learning_rate: Annotated[float, Field(gt=0.0)] = Field(description="The learning rate, or the one that `schedule` starts from.")
    initial_accumulator: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="First sum of squared gradients; ftrl and adagrad: 0.1."
    )
    beta_1: Annotated[float, Field(ge=0.0, lt=1.0)] | None = Field(None, description="Decay of the mean gradient; adam: 0.9.")
    beta_2: Annotated[float, Field(ge=0.0, lt=1.0)] | None = Field(None, description="Decay of the mean square; adam: 0.999.")
    rho: Annotated[float, Field(ge=0.0, lt=1.0)] | None = Field(None, description="Decay of the mean square; rmsprop: 0.9.")
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] | None = Field(
        None, description="Share of the last step that goes into the next; momentum: 0.9, rmsprop: 0."
    )
    epsilon: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="Keeps the denominator from 0; adagrad, adam and rmsprop: 1e-7."
    )
    l1: Annotated[float, Field(ge=0.0)] | None = Field(None, description="L1 strength; ftrl: 0.")
    l2: Annotated[float, Field(ge=0.0)] | None = Field(None, description="L2 strength; ftrl and adam: 0.")
    schedule: ScheduleConfig = ScheduleConfig()

    @model_validator(mode="after")
    def _keys_of_the_optimizer(self) -> "OptimizerConfig":
        refuse_foreign(self, self.name, _OPTIMIZER_KEYS)
        schedule = self.schedule
        if (schedule.min_learning_rate or 0.0) > self.learning_rate:
            raise ValueError(f"schedule.min_learning_rate {schedule.min_learning_rate} is above learning_rate {self.learning_rate}")
        warms_up = schedule.warmup_steps or schedule.warmup_epochs
        if schedule.values and not warms_up and schedule.values[0] != self.learning_rate:
            raise ValueError(
                f"without a warm-up, piecewise starts at learning_rate {self.learning_rate}; make it the first of schedule.values."
                f" Received: {schedule.values[0]}"
            )
        return self


_TO_THE_END = ScheduleConfig(kind="polynomial")


class LossConfig(Section):
    """One of the losses; parameters that are not given take the loss's own defaults."""

    name: str = Field(description="Name in the table of losses.")
    weight: Annotated[float, Field(gt=0.0)] = Field(1.0, description="Its factor in the sum of the losses.")
    temperature: Annotated[float, Field(gt=0.0)] | None = Field(None, description="What scores are divided by.")
    margin: Annotated[float, Field(ge=0.0)] | None = Field(None, description="How far apart the scores of a pair should be.")
    gamma: Annotated[float, Field(ge=0.0)] | None = Field(None, description="How little easy rows count; 0: as much as others.")
    alpha: Fraction | None = Field(None, description="focal: weight of positives, others 1 - alpha. jrc: share of cross-entropy.")
    beta_square: Annotated[float, Field(gt=0.0)] | None = Field(None, description="Weight of recall beside precision, squared.")
    virtual_label: Annotated[float, Field(ge=0.0)] | None = Field(None, description="Label of the item with score 0.")

    @model_validator(mode="after")
    def _known(self) -> "LossConfig":
        own = find_loss(self.name).parameters
        foreign = [key for key in type(self).model_fields if key not in ("name", "weight", *own) and getattr(self, key) is not None]
        if foreign:
            raise ValueError(f"{self.name} has no {', '.join(foreign)}; its parameters: {', '.join(own) or 'none'}")
        return self

    @property
    def parameters(self) -> dict[str, float | None]:
        """The values of all parameters of this loss, by name; None: to be done without."""
        given = {name: getattr(self, name) for name in find_loss(self.name).parameters}
        return {name: default if given[name] is None else given[name] for name, default in find_loss(self.name).parameters.items()}


class TrainerConfig(Section):
    """Training."""

    strategy: Literal["none", "mirrored", "multi_worker", "parameter_server"] = Field(
        "none",
        description="none: one process, one device. mirrored: one process, all its GPUs. multi_worker: MultiWorkerMirroredStrategy "
        "over `workers` local processes, the pods of a `training_job`, or the cluster that TF_CONFIG names. parameter_server: "
        "asynchronous, experimental; `workers` and `parameter_servers` processes, likewise.",
    )
    workers: PositiveInt = Field(1, description="Processes that train, under multi_worker and parameter_server.")
    parameter_servers: PositiveInt = Field(1, description="Processes that hold the variables, under parameter_server.")
    start_timeout_s: PositiveInt = Field(300, description="Seconds that all workers together have to form the cluster.")
    max_restarts: Annotated[int, Field(ge=0)] = Field(3, description="How often workers are started again when one is lost.")
    num_epochs: PositiveInt = Field(2, description="Passes over the train split.")
    num_steps: PositiveInt | None = Field(None, description="Steps to train, in the place of num_epochs.")
    global_batch_size: PositiveInt | None = Field(
        None, description=f"Rows a step, over all replicas; {DEFAULT_BATCH_SIZE} unless given."
    )
    batch_size_per_replica: PositiveInt | None = Field(None, description="Rows a step and replica, in the place of the former.")
    wide_optimizer: OptimizerConfig = OptimizerConfig(name="adam", learning_rate=0.03, schedule=_TO_THE_END)
    deep_optimizer: OptimizerConfig = OptimizerConfig(name="adam", learning_rate=0.0005, schedule=_TO_THE_END)
    losses: tuple[LossConfig, ...] = Field(
        (LossConfig(name="softmax"), LossConfig(name="sigmoid_cross_entropy")),
        min_length=1,
        description="What training minimizes: the sum of these.",
    )
    loss_weights: Literal["fixed", "uncertainty"] = Field(
        "fixed", description="fixed: each loss's `weight`. uncertainty: times factors that are learned, one a loss."
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Type that the hidden layers compute in; float16 scales the loss. Variables are float32."
    )
    tf32: bool = Field(True, description="Whether float32 matrix products may use TensorFloat-32, on GPUs that have it.")
    jit_compile: bool = Field(False, description="Whether XLA compiles the hidden layers.")
    eval_interval: PositiveInt = Field(1, description="Epochs from one evaluation to the next; the last epoch always has one.")
    early_stopping_patience: PositiveInt | None = Field(
        None, description="Stop after this many evaluations in a row without a better MAP@12; never unless given."
    )
    early_stopping_min_delta: Annotated[float, Field(ge=0.0)] = Field(0.0, description="How much better counts for the patience.")
    export: Literal["best", "latest"] = Field("best", description="Weights that go out: of the best eval MAP@12, or the last.")
    save_steps: PositiveInt | None = Field(None, description="Steps from one checkpoint to the next.")
    save_secs: PositiveInt | None = Field(300, description="Seconds from one checkpoint to the next.")
    keep: PositiveInt = Field(2, description="Checkpoints to keep.")
    gradient_clip_norm: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="Bound on the norm of all gradients of a step."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seeds initial weights, shuffling and dropout.")
    warm_start: str | None = Field(
        None,
        description="Where the initial weights come from: a SavedModel, a checkpoint, a folder of checkpoints, or latest_blessed.",
    )
    warm_start_map: str | None = Field(None, description="File of lines NEW OLD: variables that had another name there.")
    warm_start_strict: bool = Field(True, description="Whether the variables must be the same, but for what the map says.")
    warm_start_reshape: bool = Field(
        False, description="Whether a saved variable with another number of rows is clipped or padded with fresh ones."
    )

    @model_validator(mode="after")
    def _warm_start(self) -> "TrainerConfig":
        defaults = {"warm_start_map": None, "warm_start_strict": True, "warm_start_reshape": False}
        alone = [name for name, default in defaults.items() if getattr(self, name) != default]
        if self.warm_start is None and alone:
            raise ValueError(f"{alone[0]} says how to do a warm start, but there is none; set trainer.warm_start")
        return self

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps of the whole training, unless it stops early."""
        return self.num_epochs * steps_per_epoch if self.num_steps is None else self.num_steps

    def batch_size(self, replicas: int) -> int:
        """Rows a step over all replicas."""
        if self.batch_size_per_replica is not None:
            return self.batch_size_per_replica * replicas
        return self.global_batch_size or DEFAULT_BATCH_SIZE

    @model_validator(mode="after")
    def _workers(self) -> "TrainerConfig":
        if not self.is_distributed and self.workers != 1:
            raise ValueError(
                f"workers is {self.workers}, but strategy {self.strategy!r} is one process; set trainer.strategy=multi_worker"
            )
        if self.global_batch_size is not None and self.batch_size_per_replica is not None:
            raise ValueError("global_batch_size and batch_size_per_replica are two ways to say one thing; give one")
        return self

    @property
    def is_distributed(self) -> bool:
        """Whether several processes train."""
        return self.strategy in ("multi_worker", "parameter_server")

    @property
    def is_asynchronous(self) -> bool:
        """Whether the workers' parts of a step are updates of their own, on parameter servers."""
        return self.strategy == "parameter_server"

    @model_validator(mode="after")
    def _parameter_servers(self) -> "TrainerConfig":
        if not self.is_asynchronous:
            if self.parameter_servers != 1:
                raise ValueError(f"parameter_servers is set, but strategy {self.strategy!r} has none")
            return self
        if self.precision == "float16":
            raise ValueError("parameter_server: TensorFlow cannot scale the loss for float16 there; set precision=bfloat16")
        if self.jit_compile:
            raise ValueError("parameter_server: XLA compiles no layer with variables in another process; set jit_compile=false")
        return self

    @model_validator(mode="after")
    def _losses(self) -> "TrainerConfig":
        names = [loss.name for loss in self.losses]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"losses: there twice: {', '.join(twice)}")
        negative = [name for name in names if find_loss(name).is_negative]
        if self.loss_weights == "uncertainty" and negative:
            raise ValueError(f"loss_weights 'uncertainty' needs losses that are never negative, unlike {', '.join(negative)}")
        return self


class EvaluateConfig(Section):
    """Evaluation."""

    slices: tuple[tuple[str, ...], ...] = Field(
        (
            ("event_platform",),
            ("event_country",),
            ("event_country_state",),
            ("hour",),
            ("ads_per_display",),
            ("ad_age",),
            ("new_ad",),
            ("new_user",),
        ),
        description="Columns by which the metrics are sliced; several columns in one entry are crossed. Columns that all ads of a "
        "display share, or those of components/evaluator/slices.py.",
    )


class GateConfig(Section):
    """When a model may go out; docs/gate.md has the formulas."""

    min_gain_over_popularity: float = Field(0.005, description="MAP@12 must exceed the popularity baseline's by at least this.")
    max_loss_to_blessed: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="MAP@12 may be lower than the latest blessed model's by at most this, on all displays and on each slice."
    )
    max_chance_loss: Annotated[float, Field(ge=0.0)] = Field(
        0.05,
        description="A loss to the blessed model that chance explains is let pass up to this much MAP@12. 0: the lower bound must "
        "be above -max_loss_to_blessed by itself, which refuses most models that are just as good.",
    )
    allow_unjudged_blessed: bool = Field(
        False,
        description="Whether a model may go out though the latest blessed one cannot be judged on these displays: damaged, or of "
        "other features.",
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = Field(
        0.95, description="Of either bound of an interval; a model just as good as the blessed one is blessed about as often."
    )
    power: Annotated[float, Field(gt=0.5, lt=1.0)] = Field(
        0.8, description="Probability with which the detectable difference, which is reported, would be detected."
    )
    resamples: Annotated[int, Field(ge=1000)] = Field(10_000, description="Bootstrap resamples of the eval displays.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seeds the resamples.")
    min_slice_displays: PositiveInt = Field(200, description="Slices with fewer displays that have a click are not tested.")
    slice_fdr: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.01, description="False discovery rate (Benjamini-Hochberg) at which a slice counts as worse than the blessed model's."
    )
    min_calibration: Annotated[float, Field(ge=0.0)] = Field(
        0.8, description="The mean score over the share of clicks must be at least this."
    )
    max_calibration: Annotated[float, Field(gt=0.0)] | None = Field(
        1.25, description="The mean score over the share of clicks must be at most this; null: as large as it likes."
    )
    max_replay_skew: Annotated[float, Field(ge=0.0)] = Field(
        1e-5, description="Scores of the exported model may differ from the trained one's by at most this."
    )

    @model_validator(mode="after")
    def _some_calibration(self) -> "GateConfig":
        if self.max_calibration is not None and self.min_calibration > self.max_calibration:
            raise ValueError(f"min_calibration {self.min_calibration:g} is above max_calibration {self.max_calibration:g}")
        return self


class InfraConfig(Section):
    """What a server must be able to do with a model before it may go out."""

    timeout_s: Annotated[float, Field(gt=0.0)] = Field(
        300.0, description="Seconds in which a process must have loaded the model and answered all requests."
    )
    requests: PositiveInt = Field(300, description="Raw Examples of the eval split that are sent to the model.")
    max_latency_ms: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="Bound on the 99th percentile of the time for one display, once the model is warm; or none."
    )
    max_bytes: PositiveInt | None = Field(None, description="Bound on the size of the model on disk; or none.")
    allowed_ops: tuple[str, ...] = Field(
        (), description="TensorFlow operations that a model may have beside those of components/infra_validator/ops.py."
    )


class PushConfig(Section):
    """Where blessed models go."""

    directory: str | None = Field(None, description="Folder of the numbered versions; ROOT/serving unless given.")


class ReportConfig(Section):
    """The report of a run."""

    importance_displays: Annotated[int, Field(ge=0)] = Field(
        2000, description="Eval displays on which the importance of each feature is measured; 0: it is not."
    )
    importance_repeats: PositiveInt = Field(3, description="How often each feature is permuted.")
    drift_threshold: Fraction = Field(0.1, description="A feature whose distribution moved by more than this is marked.")


class TrackingConfig(Section):
    """Where runs are kept track of, beside their folder; docs/tracking.md."""

    mlflow_uri: Annotated[str, Field(pattern=r"^https?://[^/]")] | None = Field(
        None, description="Address of an MLflow server that finished runs are sent to. Users and tokens: by MLflow's own variables."
    )
    experiment: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        "clickrank", description="MLflow's experiment for the runs; made if it is not there."
    )

    @model_validator(mode="after")
    def _no_secret(self) -> "TrackingConfig":
        # Of the whole section: pydantic would show the value of a single key, and with it the password.
        if self.mlflow_uri and "@" in self.mlflow_uri.split("/")[2]:
            raise ValueError(
                "mlflow_uri must hold no user and password, which would be kept with the run; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        return self


class AuditConfig(Section):
    """The leak audit, in the pipeline and of `clickrank features --audit`."""

    in_pipeline: bool = Field(True, description="Whether `clickrank run` audits the features; if not, the verdict says so.")
    max_rows: PositiveInt = Field(
        500_000, description="Rows of each split that the pipeline audits at most, by a hash; `clickrank features` audits all."
    )
    # Largest gaps of four synthetic logs of 20,000 displays: 0.0067 to 0.0103 with features.history=past, where all is honest;
    # 0.0206 to 0.0314 with history=all, where 6 to 9 columns of each log exceed 0.015.
    max_auc_gap: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.015,
        description="A feature alone may rank train rows better than eval rows by at most this much AUC, or by what chance "
        "explains where that is more (short logs).",
    )


class Config(Section):
    """The whole tree."""

    ingest: IngestConfig = IngestConfig()
    split: SplitConfig = SplitConfig()
    features: FeaturesConfig = FeaturesConfig()
    encoding: EncodingConfig = EncodingConfig()
    prebatch: PrebatchConfig = PrebatchConfig()
    model: ModelConfig = ModelConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    infra: InfraConfig = InfraConfig()
    push: PushConfig = PushConfig()
    report: ReportConfig = ReportConfig()
    tracking: TrackingConfig = TrackingConfig()
    audit: AuditConfig = AuditConfig()
    beam: BeamConfig = BeamConfig()
    metadata: MetadataConfig = MetadataConfig()
    kubeflow: KubeflowConfig = KubeflowConfig()
    training_job: TrainingJobConfig = TrainingJobConfig()

    @model_validator(mode="after")
    def _crosses_are_inputs(self) -> "Config":
        seen = {f.name for f in self.encoding.inputs() if f.wide}
        missing = sorted({name for pair in self.model.crosses for name in pair} - seen)
        if missing:
            raise ValueError(f"model.crosses: the wide part does not see {', '.join(missing)}; encoding.add can switch it on")
        return self

    @model_validator(mode="after")
    def _batches(self) -> "Config":
        shards, trainer = self.prebatch.shards, self.trainer
        if shards % trainer.workers:
            raise ValueError(f"trainer.workers {trainer.workers} must divide prebatch.shards {shards}: each worker reads its own")
        if trainer.batch_size(trainer.workers) % shards:
            raise ValueError(
                f"trainer: a batch of {trainer.batch_size(trainer.workers)} rows must be a multiple of prebatch.shards {shards}: "
                "it takes as many rows from each"
            )
        return self
