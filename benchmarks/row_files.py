"""Rows of `benchmarks.model_rows` on disk, in each of the forms that the benchmark of reading compares.

`BASE_ROWS` rows are enough: larger splits repeat them, which neither a reader nor gzip (its window is 32 KiB) can tell.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

from benchmarks.model_rows import Columns, random_sizes
from components.prebatch.manifest import Manifest, RecordFile, write_manifest
from components.prebatch.pack import cut_records
from components.trainer.input import Records, open_records
from schemas.config import PrebatchConfig
from schemas.features import Feature
from schemas.records import LABEL, RecordLayout

BASE_ROWS = 1 << 16


def write_records(folder: Path, columns: Columns, layout: RecordLayout, rows: int) -> Records:
    """Writes about `rows` rows as Prebatch does, by its defaults: whole records, as many in each shard."""
    config = PrebatchConfig()
    count = len(columns[LABEL])
    sizes = random_sizes(count)
    cut = list(cut_records(layout.pack(columns), sizes, np.arange(len(sizes)), min(config.prebatch_size, rows // config.shards)))
    records = [layout.encode(*parts) for parts in cut]
    each = max(1, round(rows / config.shards / (count / len(records))))
    folder.mkdir(parents=True)
    files = []
    for shard in range(config.shards):
        name = f"records-{shard:05d}.tfrecord"
        chosen = [(shard + i) % len(records) for i in range(each)]
        _write(folder / name, (records[i] for i in chosen))
        displays = [cut[i][1] for i in chosen]
        files.append(
            RecordFile(
                name=name,
                shard=shard,
                rows=tuple(int(d.sum()) for d in displays),
                displays=tuple(map(len, displays)),
                longest=int(max(d.max() for d in displays)),
                digest=0,
            )
        )
    manifest = Manifest(fingerprint=layout.fingerprint, record_rows=config.prebatch_size, shards=config.shards, files=tuple(files))
    write_manifest(str(folder), manifest)
    return open_records("train", str(folder), layout)


def write_examples(folder: Path, columns: Columns, rows: int, *, together: int, compression: str = "") -> int:
    """Writes about `rows` rows as tf.Examples of `together` rows each; a feature's values are one list, row after row.

    Returns:
        How many rows there are.
    """
    count = len(columns[LABEL]) // together
    arrays = {name: _as_lists(values[: count * together].reshape(count, -1)) for name, values in columns.items()}
    examples = example_coder.RecordBatchToExamplesEncoder().encode(pa.RecordBatch.from_pydict(arrays))
    shards = PrebatchConfig().shards
    each = max(1, round(rows / shards / together))
    folder.mkdir(parents=True)
    for shard in range(shards):
        chosen = (examples[(shard * each + i) % count] for i in range(each))
        _write(folder / f"examples-{shard:05d}.tfrecord", chosen, compression)
    return each * shards * together


def example_spec(features: Sequence[Feature], together: int) -> dict[str, tf.io.FixedLenFeature]:
    """Returns the parsing spec of what `write_examples` writes: (together, values) of each feature, (values,) of single rows."""
    front = [together] if together > 1 else []
    spec = {f.name: tf.io.FixedLenFeature([*front, f.hotness], tf.float32 if f.kind == "numeric" else tf.int64) for f in features}
    return spec | {LABEL: tf.io.FixedLenFeature([*front, 1], tf.int64)}


def bytes_of(folder: Path) -> int:
    """Returns the bytes of all record files in a folder."""
    return sum(file.stat().st_size for file in folder.glob("*.tfrecord"))


def _as_lists(values: np.ndarray) -> pa.Array:
    flat = pa.array(values.ravel().astype(np.float32 if values.dtype == np.float32 else np.int64))
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _write(path: Path, records: Iterator[bytes], compression: str = "") -> None:
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
