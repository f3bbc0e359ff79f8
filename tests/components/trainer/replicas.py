"""Three steps of each optimizer by two replicas: `python -m tests.components.trainer.replicas KIND OUT`, where KIND is mirrored
(two logical CPUs in this process) or multi_worker (TF_CONFIG says which worker this is).

Replicas give different numbers of rows, some of them in common or twice. What every replica has at the end goes to OUT:
`NAME/table/REPLICA`, `NAME/dense/REPLICA` and `NAME/norms/REPLICA` of `replica-WORKER.npz`, and a checkpoint for each name. A step
that touches a whole table is an error.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.trainer.gradients import aggregate, clip_by_global_norm
from components.trainer.optimizers import make_optimizer
from components.trainer.rows import gather_rows
from schemas.config import OptimizerConfig
from tests.components.trainer.graphs import whole_table_operations

NAMES = ("ftrl", "adagrad", "adam", "rmsprop", "sgd", "momentum")
STEPS, REPLICAS = 3, 2
ROWS, IN_BATCHES = 61, 6
CLIP = 2.0
SCHEDULE = {"kind": "cosine", "warmup_steps": 2, "decay_steps": 4}


def config(name):
    return OptimizerConfig(name=name, learning_rate=0.5, schedule=SCHEDULE)


def gradients(step, replica):
    """Row ids (r,), their gradients (r, 2) and the gradient of the dense variable (2,)."""
    random = np.random.default_rng([step, replica])
    rows = 4 + replica
    return random.integers(0, IN_BATCHES, rows), random.normal(size=(rows, 2)).astype("f4"), random.normal(size=2).astype("f4")


def variables():
    return tf.Variable(tf.ones((ROWS, 2)), name="table"), tf.Variable(tf.ones((2,)), name="dense")


def make_step(optimizer, table, dense):
    """Returns the function of (rows, values, dense gradient) that does one step and returns the norm."""

    def step(rows, values, dense_gradient):
        slices = tf.IndexedSlices(values, rows, tf.constant([ROWS, 2], tf.int64))
        clipped, norm = clip_by_global_norm(aggregate([slices, dense_gradient]), CLIP)
        optimizer.apply_gradients(zip(clipped, [table, dense], strict=True), skip_gradients_aggregation=True)
        return norm

    return step


def train(strategy, name):
    """Returns (table by local replica, dense by local replica, norms (steps, local replicas), checkpoint)."""
    with strategy.scope():
        table, dense = variables()
        optimizer = make_optimizer(config(name))
        optimizer.build([table, dense])
        assert gather_rows(table, [1, 2, 1]).shape == (3, 2)  # in no replica, as when a model is built
    step = make_step(optimizer, table, dense)
    distributed = tf.function(lambda *args: strategy.run(step, args=args), reduce_retracing=True)
    norms = []
    for number in range(STEPS):
        values = [
            strategy.experimental_distribute_values_from_function(
                lambda context, i=i, number=number: tf.constant(gradients(number, context.replica_id_in_sync_group)[i])
            )
            for i in range(3)
        ]
        norms.append([float(norm) for norm in strategy.experimental_local_results(distributed(*values))])
    found = whole_table_operations(distributed.get_concrete_function(*values), ROWS)
    assert not found, (name, found)
    both = [[x.numpy() for x in strategy.experimental_local_results(variable)] for variable in (table, dense)]
    return *both, norms, tf.train.Checkpoint(table=table, dense=dense, optimizer=optimizer)


def main(kind, out):
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * REPLICAS)
        strategy, worker = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), 0
    else:
        worker = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == REPLICAS
    arrays = {}
    for name in NAMES:
        table, dense, norms, checkpoint = train(strategy, name)
        for i, values in enumerate(zip(table, dense, np.transpose(norms), strict=True)):
            arrays |= {
                f"{name}/{what}/{worker + i}": value for what, value in zip(("table", "dense", "norms"), values, strict=True)
            }
        checkpoint.write(str(out / f"{name}-{worker}"))
    np.savez(out / f"replica-{worker}.npz", **arrays)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
