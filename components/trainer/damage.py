"""Which file is damaged, and where: TensorFlow's errors name neither."""

import struct
from collections.abc import Iterable

import google_crc32c
import tensorflow as tf

from components.trainer.input import Records
from schemas.errors import ClickrankError, InputDataError, TransientError
from schemas.records import RecordError, RecordLayout

_PEER_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


def explain(error: tf.errors.OpError, splits: Iterable[Records]) -> ClickrankError:
    """Returns what to tell of an error of TensorFlow: where the records are damaged, if they are; else its one telling line."""
    if isinstance(error, _PEER_LOST):
        return TransientError(f"another worker was lost: {cause(error)}")
    for records in splits:
        for path in records.paths(records.manifest.files):
            damage = find_damage(path, records.layout)
            if damage:
                return InputDataError(damage)
    return ClickrankError(f"training failed: {cause(error)}")


def find_damage(path: str, layout: RecordLayout) -> str | None:
    """Returns where and how a file of records is damaged, None if it is whole.

    The framing is TFRecord's: length, its masked CRC-32C, the record, its masked CRC-32C
    (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details).
    """
    offset = 0
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            while head := file.read(12):
                if len(head) < 12:
                    return f"{path} byte {offset}: cut short"
                length, check = struct.unpack("<QI", head)
                if check != _masked(head[:8]):
                    return f"{path} byte {offset}: no record begins here; damaged, or not a file of records"
                record, tail = file.read(length), file.read(4)
                if len(tail) < 4:
                    return f"{path} byte {offset}: cut short"
                if struct.unpack("<I", tail)[0] != _masked(record):
                    return f"{path} byte {offset}: the record's checksum is wrong"
                try:
                    layout.decode(record)
                except RecordError as error:
                    return f"{path} byte {offset}: {error}"
                offset += 16 + length
    except tf.errors.OpError as error:
        return f"{path}: cannot be read: {cause(error)}"
    return None


def cause(error: Exception) -> str:
    """The one line of a TensorFlow error that says what went wrong: the last that does not say where."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("[[")), type(error).__name__)


def _masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
