"""One contender of `benchmarks.step`: python -m benchmarks.step_contender SPEC.json.

SPEC is a `benchmarks.step.Case` as JSON. Prints the version and the device as JSON once it has made two steps, which trace and
warm up, then for each line with a number of steps what these took.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from benchmarks.machine import cpu_seconds
from benchmarks.model_rows import Columns, random_columns, random_sizes
from components.trainer.input import Batch
from components.trainer.losses.mix import LossMix
from components.trainer.model import build_model
from components.trainer.optimizers import make_optimizer
from components.trainer.training import Parts, make_train_step
from schemas.config import LossConfig, ModelConfig, OptimizerConfig
from schemas.features import Feature, model_inputs
from schemas.records import record_layout

WARM_UP = 2
MATMUL_SIZE = 3072


def shrunk(features: Sequence[Feature], divisor: int) -> list[Feature]:
    """Returns features with a share of their hash buckets."""
    return [replace(f, buckets=max(2, f.buckets // divisor)) if f.embedding_dim else f for f in features]


def ours(
    features: Sequence[Feature],
    model: ModelConfig,
    columns: Columns,
    deep_optimizer: str,
    *,
    precision: str = "float32",
    jit_compile: bool = False,
) -> Callable[[], float]:
    """Returns a step of the Trainer on `columns`, which gives the loss."""
    rows = len(next(iter(columns.values())))
    layout = record_layout(features)
    sizes = random_sizes(rows)
    record = layout.encode(layout.pack(columns), sizes, sizes)
    # On the device, as after the reader's prefetch.
    batch = Batch({k: tf.constant(v) for k, v in layout.decode(record).blocks.items()}, tf.zeros((0,), tf.int32))
    wide = OptimizerConfig(name="ftrl", learning_rate=0.2)
    deep = OptimizerConfig(name=deep_optimizer, learning_rate=0.001)
    losses = (LossConfig(name="sigmoid_cross_entropy"),)
    parts = Parts(
        build_model(features, model, compute_dtype=precision, jit_compile=jit_compile),
        make_optimizer(wide),
        make_optimizer(deep),
        LossMix(losses, "fixed"),
    )
    step = make_train_step(parts, tf.distribute.get_strategy(), layout, full_rows=rows)
    return lambda: float(step([batch], 0)[0])


def matmul() -> Callable[[], float]:
    """Returns a product of large square float32 matrices, which gives its FLOP."""
    a = tf.random.uniform((MATMUL_SIZE, MATMUL_SIZE))

    @tf.function
    def product(b: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.matmul(a, b))

    def run() -> float:
        product(a).numpy()
        return 2.0 * MATMUL_SIZE**3

    return run


def make(spec: dict[str, Any]) -> Callable[[], float]:
    """Returns one step of the contender that a specification names."""
    if spec["kind"] == "matmul":
        return matmul()
    features = shrunk(model_inputs(), spec["bucket_divisor"])
    columns = random_columns(features, spec["batch"])
    if spec["kind"] == "tf_keras":
        from benchmarks.step_keras import make_step

        return make_step(features, spec["units"], columns, spec["deep_optimizer"])
    more = {key: spec[key] for key in ("precision", "jit_compile")}
    return ours(features, ModelConfig(hidden_units=tuple(spec["units"])), columns, spec["deep_optimizer"], **more)


def answer(spec: dict[str, Any], lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yields where it runs, then what the steps that each line asks for took."""
    step = make(spec)
    for _ in range(WARM_UP):
        step()
    devices = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    yield {"version": tf.__version__, "device": devices[0] if devices else "cpu"}
    for line in lines:
        cpu, wall = cpu_seconds(), time.perf_counter()
        for _ in range(int(line)):
            value = step()
        yield {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_seconds() - cpu, "loss": value}


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        asked = json.load(file)
    for answered in answer(asked, sys.stdin):
        print(json.dumps(answered), flush=True)  # noqa: T201
