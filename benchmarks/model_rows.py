"""Made-up rows of all model inputs, in memory and in each of the forms that the benchmark of reading compares.

Values are random, ids unevenly so: some are frequent, as popular ads are, and which ones does not depend on how large they are, as
of hashes. `BASE_ROWS` rows are made once; larger splits repeat them, which neither a reader nor gzip (its window is 32 KiB) can tell.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

from components.prebatch.manifest import Manifest, RecordFile, write_manifest
from components.prebatch.pack import cut_records
from components.trainer.input import Records, open_records
from schemas.config import PrebatchConfig
from schemas.features import Feature
from schemas.records import LABEL, RecordLayout

BASE_ROWS = 1 << 16
_SPREAD = 2_654_435_761
"""A prime that divides no number of buckets."""
ADS_PER_DISPLAY = 10
"""Most ads of a display; 2 at least."""

Columns = dict[str, np.ndarray]


def random_columns(features: Sequence[Feature], rows: int, seed: int = 0) -> Columns:
    """Returns model inputs and the label by name: int32 (n,) or (n, hotness), one value in 20 missing (-1); float32 (n,) in [0, 1)."""
    rng = np.random.default_rng(seed)
    columns: Columns = {}
    for feature in features:
        shape = (rows, feature.hotness) if feature.kind == "ids" else (rows,)
        values = rng.random(shape, np.float32)
        if feature.kind != "numeric":
            popularity = (values**4 * feature.buckets).astype(np.int64)
            ids = popularity * _SPREAD % feature.buckets
            values = np.where(rng.random(shape, np.float32) < 0.05, -1, ids).astype(np.int32)
        columns[feature.name] = values
    columns[LABEL] = (rng.random(rows, np.float32) < 0.2).astype(np.int32)
    return columns


def random_sizes(rows: int, seed: int = 0) -> np.ndarray:
    """Returns the rows of displays that together have `rows` rows, int64 (d,)."""
    ends = np.cumsum(np.random.default_rng(seed).integers(2, ADS_PER_DISPLAY, rows, endpoint=True))
    return np.diff(np.concatenate([[0], ends[ends < rows], [rows]]))


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
                displays=sum(map(len, displays)),
                longest=int(max(d.max() for d in displays)),
                digest=0,
            )
        )
    manifest = Manifest(
        fingerprint=layout.fingerprint, record_rows=config.prebatch_size, shards=config.shards, files=tuple(files)
    )
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
    spec = {
        f.name: tf.io.FixedLenFeature([*front, f.hotness], tf.float32 if f.kind == "numeric" else tf.int64) for f in features
    }
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
