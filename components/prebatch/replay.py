"""Some raw Examples of the eval split, by which the Trainer compares what it trained with what it exports."""

from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.prebatch.manifest import Manifest
from components.prebatch.record_file import read_records
from schemas.records import RecordLayout

REPLAY_FOLDER = "replay"
"""Under the URI of the records; holds one TFRecord file of raw Examples."""

REPLAY_FILE = "examples.tfrecord"
REPLAY_ROWS = 1000
_BATCH_ROWS = 4096


def choose_displays(folder: str, manifest: Manifest, layout: RecordLayout) -> np.ndarray:
    """Returns the ids of the first displays of a split that have `REPLAY_ROWS` rows together, or of all."""
    ids: list[np.ndarray] = []
    rows = 0
    for file in manifest.files:
        for record in read_records(folder, file, layout):
            enough = 1 + int(np.searchsorted(rows + np.cumsum(record.sizes), REPLAY_ROWS))
            ids.append(record.display_ids[:enough])
            rows += int(record.sizes[:enough].sum())
            if rows >= REPLAY_ROWS:
                return np.concatenate(ids)
    return np.concatenate(ids)


class PickDisplays(beam.DoFn):
    """A GZIP TFRecord file of raw Examples -> those of some displays, serialised."""

    def __init__(self, display_ids: np.ndarray):
        self._display_ids = np.sort(display_ids)

    def process(self, path: str) -> Iterator[bytes]:
        spec = {"display_id": tf.io.FixedLenFeature([], tf.int64)}
        for serialized in tf.data.TFRecordDataset(path, compression_type="GZIP").batch(_BATCH_ROWS):
            displays = tf.io.parse_example(serialized, spec)["display_id"].numpy()
            for i in np.flatnonzero(np.isin(displays, self._display_ids)):
                yield serialized[i].numpy()


def write_replay(examples: Sequence[bytes], path: str) -> None:
    """Writes raw Examples to one file, in an order that does not depend on theirs."""
    with tf.io.TFRecordWriter(path) as writer:
        for example in sorted(examples):
            writer.write(example)
