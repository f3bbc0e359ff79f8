import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.cluster import local_cluster
from components.trainer.gradients import aggregate, clip_by_global_norm
from components.trainer.launch import ROOT
from components.trainer.optimizers import make_optimizer
from tests.components.trainer import replicas


def one_replica(name):
    """(table, dense, norms) of the same steps with all replicas' rows at once."""
    table, dense = replicas.variables()
    optimizer = make_optimizer(replicas.config(name))
    norms = []
    for number in range(replicas.STEPS):
        rows, values, dense_gradients = zip(*(replicas.gradients(number, r) for r in range(replicas.REPLICAS)), strict=True)
        slices = tf.IndexedSlices(np.concatenate(values), np.concatenate(rows), tf.constant([replicas.ROWS, 2], tf.int64))
        clipped, norm = clip_by_global_norm(aggregate([slices, tf.constant(sum(dense_gradients))]), replicas.CLIP)
        optimizer.apply_gradients(zip(clipped, [table, dense], strict=True))
        norms.append(float(norm))
    return {"table": table.numpy(), "dense": dense.numpy(), "norms": norms}


def run(kind, out, clusters):
    """Runs a process for each cluster, and returns what all replicas had at the end."""
    command = [sys.executable, "-m", "tests.components.trainer.replicas", kind, str(out)]
    logs = [out / f"{i}.log" for i in range(len(clusters))]
    processes = []
    for cluster, log in zip(clusters, logs, strict=True):
        more = {"TF_CONFIG": cluster.tf_config()} if cluster else {}
        with log.open("w") as file:
            processes.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | more, stdout=file, stderr=file))
    try:
        assert [process.wait(300) for process in processes] == [0] * len(clusters), "\n".join(
            log.read_text()[-3000:] for log in logs
        )
    finally:
        for process in processes:
            process.kill()
    return {name: array for i in range(len(clusters)) for name, array in np.load(out / f"replica-{i}.npz").items()}


def check(arrays, out):
    assert len(arrays) == len(replicas.NAMES) * 3 * replicas.REPLICAS
    for name in replicas.NAMES:
        want = one_replica(name)
        assert min(want["norms"]) > replicas.CLIP  # else nothing would be clipped
        for what, value in want.items():
            for replica in range(replicas.REPLICAS):
                np.testing.assert_allclose(
                    arrays[f"{name}/{what}/{replica}"], value, rtol=1e-5, atol=1e-6, err_msg=f"{name}/{what}"
                )
            np.testing.assert_array_equal(arrays[f"{name}/{what}/0"], arrays[f"{name}/{what}/1"], err_msg=f"{name}/{what}")
        restored_table, restored_dense = replicas.variables()
        optimizer = make_optimizer(replicas.config(name))
        optimizer.build([restored_table, restored_dense])
        checkpoint = tf.train.Checkpoint(table=restored_table, dense=restored_dense, optimizer=optimizer)
        checkpoint.read(str(out / f"{name}-0")).assert_existing_objects_matched()
        assert int(optimizer.iterations) == replicas.STEPS
        np.testing.assert_array_equal(restored_table, arrays[f"{name}/table/0"])
        assert len(optimizer.slots_of(restored_table)) == len(optimizer.slots_of(restored_dense))


def test_two_replicas_of_one_process_equal_one(tmp_path):
    """One process with two logical devices, since devices cannot be changed once TensorFlow has begun."""
    check(run("mirrored", tmp_path, [None]), tmp_path)


@pytest.mark.slow  # two processes that each import TensorFlow: about 20 s
def test_two_workers_equal_one(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    check(run("multi_worker", tmp_path, local_cluster(2)), tmp_path)
