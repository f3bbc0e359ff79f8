"""One contender of `benchmarks.input`: python -m benchmarks.input_contender NAME FOLDER ROWS.

Writes its files, reads them once, so that they are in the page cache and its functions traced, then waits for a line. For each
line it reads an epoch and prints what that took as JSON.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.machine import cpu_seconds
from benchmarks.model_rows import random_columns
from benchmarks.row_files import BASE_ROWS, bytes_of, example_spec, write_examples, write_records
from components.trainer.input import Batch, Reader, unpack
from schemas.features import model_inputs
from schemas.records import record_layout

PREBATCH = 4096
SHUFFLE_EXAMPLES = 64
"""Of prebatched examples, in the buffer that shuffles them. Rows within one stay together."""

Epochs = Callable[[], Iterator[Any]]
"""Starts an epoch; its batches have to be taken."""


def ours(folder: Path, rows: int, size: int, *, by_columns: bool = False, **more: bool) -> tuple[Epochs, int]:
    """The Trainer's reader; `by_columns` goes on to name each column, as a step of training does within its graph."""
    layout = record_layout(model_inputs())
    records = write_records(folder, random_columns(model_inputs(), min(rows, BASE_ROWS)), layout, rows)
    reader = Reader(records, size, **more)
    named = tf.function(lambda batch: unpack(batch.blocks, layout), reduce_retracing=True)

    def epoch() -> Iterator[Any]:
        batches: Iterator[Batch] = reader.epoch(seed=1)
        return map(named, batches) if by_columns else batches

    return epoch, sum(records.rows_of_shards)


def prebatched_examples(folder: Path, rows: int, size: int, *, shuffle: bool = False) -> tuple[Epochs, int]:
    """tf.Examples of 4,096 rows each, as NVIDIA's data loader reads them: parsed one by one, stacked, and reshaped to rows."""
    together = min(PREBATCH, size)
    count = write_examples(folder, random_columns(model_inputs(), max(together, min(rows, BASE_ROWS))), rows, together=together)
    spec = example_spec(model_inputs(), together)

    def to_rows(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: tf.reshape(values, [-1, values.shape[-1]]) for name, values in columns.items()}

    dataset = tf.data.TFRecordDataset(_files(folder), num_parallel_reads=tf.data.AUTOTUNE)
    if shuffle:
        dataset = dataset.shuffle(SHUFFLE_EXAMPLES)
    dataset = dataset.map(lambda example: tf.io.parse_single_example(example, spec), num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(size // together).map(to_rows, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
    return lambda: iter(dataset), count


def plain_examples(folder: Path, rows: int, size: int) -> tuple[Epochs, int]:
    """One tf.Example a row, GZIP, as Transform writes them; parsed a batch at a time."""
    count = write_examples(folder, random_columns(model_inputs(), min(rows, BASE_ROWS)), rows, together=1, compression="GZIP")
    spec = example_spec(model_inputs(), 1)
    dataset = tf.data.TFRecordDataset(_files(folder), "GZIP", num_parallel_reads=tf.data.AUTOTUNE).batch(size)
    dataset = dataset.map(lambda batch: tf.io.parse_example(batch, spec), num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
    return lambda: iter(dataset), count


CONTENDERS: dict[str, Callable[[Path, int], tuple[Epochs, int]]] = {
    "records-16384-shuffled": partial(ours, size=16384, shuffle=True),
    "records-16384": partial(ours, size=16384),
    "records-16384-shuffled-columns": partial(ours, size=16384, shuffle=True, by_columns=True),
    "records-16384-shuffled-displays": partial(ours, size=16384, shuffle=True, by_display=True),
    "records-4096-shuffled": partial(ours, size=4096, shuffle=True),
    "records-4096": partial(ours, size=4096),
    "records-4096-shuffled-displays": partial(ours, size=4096, shuffle=True, by_display=True),
    "records-512-shuffled": partial(ours, size=512, shuffle=True),
    "prebatched-examples-16384-shuffled": partial(prebatched_examples, size=16384, shuffle=True),
    "prebatched-examples-4096-shuffled": partial(prebatched_examples, size=4096, shuffle=True),
    "plain-examples-16384": partial(plain_examples, size=16384),
    "plain-examples-4096": partial(plain_examples, size=4096),
}


def answer(name: str, folder: Path, rows: int, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yields what an epoch took, for each line; the files are gone after."""
    try:
        epoch, count = CONTENDERS[name](folder, rows)
        size = bytes_of(folder)
        for _ in epoch():
            pass
        for _ in lines:
            cpu, wall, steps = cpu_seconds(), time.perf_counter(), 0
            for _ in epoch():
                steps += 1
            wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
            yield {"rows": count, "steps": steps, "bytes": size, "wall_s": wall, "cpu_s": cpu}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob("*.tfrecord")))


if __name__ == "__main__":
    for answered in answer(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.stdin):
        print(json.dumps(answered), flush=True)  # noqa: T201
