"""A few columns of as many rows of a split as fit into memory."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import tensorflow as tf

from schemas.errors import InputDataError
from transforms.examples import decode

_BATCH_ROWS = 8192
_HASH = "hash"
_HASHES = 1 << 62


def read_sample(folder: Path, columns: Sequence[str], max_rows: int) -> pa.Table:
    """Reads columns of a split's tf.Examples.

    Of more rows than `max_rows`, those are kept whose hash ends in enough zeros: a random half, a quarter and so on. A hash is of a
    row's bytes alone, so how rows are spread over files makes no difference.

    Args:
        folder: Holds gzipped TFRecord files.
        columns: Columns of the feature table that hold one value a row.
        max_rows: At most so many rows are returned.

    Raises:
        InputDataError: There is no file, or one is damaged.
    """
    files = sorted(str(file) for file in folder.glob("*.gz"))
    if not files:
        raise InputDataError(f"{folder}: holds no examples; remove the folder of this artifact and run again")
    parts: list[pa.Table] = []
    zeros = rows = 0
    for file in files:
        try:
            for batch in tf.data.TFRecordDataset(file, compression_type="GZIP").batch(_BATCH_ROWS):
                hashes = tf.strings.to_hash_bucket_fast(batch, _HASHES).numpy()
                kept = hashes % (1 << zeros) == 0
                if kept.any():
                    part = decode(batch.numpy()[kept].tolist(), columns)
                    parts.append(part.append_column(_HASH, pa.array(hashes[kept])))
                    rows += part.num_rows
                while rows > max_rows:
                    zeros += 1
                    parts = [part.filter(pa.array(part[_HASH].to_numpy() % (1 << zeros) == 0)) for part in parts]
                    rows = sum(part.num_rows for part in parts)
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            raise InputDataError(f"{file}: {str(error.message).splitlines()[0]}; remove its artifact and run again") from error
    return pa.concat_tables(parts).drop_columns([_HASH])
