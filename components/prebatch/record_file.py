"""Reading single records of a file, each checked as it is read.

The framing is TFRecord's: length, its masked CRC-32C, the record, its masked CRC-32C
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details). TensorFlow's own reader takes some cut files for
whole ones and does not say where a file is damaged; this one knows from the manifest where each record begins and ends.
"""

import itertools
import posixpath
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.prebatch.manifest import RecordFile
from schemas.errors import InputDataError
from schemas.records import Record, RecordError, RecordLayout

_HEAD, _TAIL = struct.Struct("<QI"), struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is.

    Attributes:
        path: The file.
        offset: Of the frame, bytes.
        length: Of the record within it, bytes.
        rows: Rows of the record.
    """

    path: str
    offset: int
    length: int
    rows: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of the record and what is around it."""
        return _HEAD.size + self.length + _TAIL.size

    @property
    def is_local(self) -> bool:
        """Whether it is in a file system of the machine, and not one that only TensorFlow knows."""
        return "://" not in self.path


def places(folder: str, file: RecordFile, layout: RecordLayout) -> tuple[Place, ...]:
    """Returns where the records of a file are, in order."""
    path = posixpath.join(folder, file.name)
    lengths = [layout.record_bytes(rows, displays) for rows, displays in zip(file.rows, file.displays, strict=True)]
    offsets = itertools.accumulate((_HEAD.size + length + _TAIL.size for length in lengths), initial=0)
    return tuple(Place(path, *where) for where in zip(offsets, lengths, file.rows, strict=False))


def read_record(place: Place, layout: RecordLayout, buffer: npt.NDArray[np.uint8] | None = None) -> Record:
    """Reads one record.

    Args:
        place: Where it is.
        layout: What the manifest says it is.
        buffer: Where to put its bytes, at least `place.frame_bytes`; the record is good until they are overwritten.

    Raises:
        InputDataError: It is damaged, not what the manifest says, or cannot be read; names the file and the byte.
    """
    where = f"{place.path} byte {place.offset}"
    frame = np.empty(place.frame_bytes, np.uint8) if buffer is None else buffer[: place.frame_bytes]
    try:
        got = _read_into(place, frame)
    except (OSError, tf.errors.OpError) as error:
        raise InputDataError(f"{place.path}: cannot be read: {_last_line(error)}") from error
    frame.flags.writeable = False
    data, view = frame[_HEAD.size : -_TAIL.size], frame.data
    if got >= _HEAD.size and _HEAD.unpack_from(view) != (place.length, _masked(frame[:8])):
        raise InputDataError(f"{where}: no record of {place.length} bytes begins here; damaged, or not a file of records")
    if got < place.frame_bytes:
        raise InputDataError(f"{where}: cut short")
    if _TAIL.unpack_from(view, place.frame_bytes - _TAIL.size)[0] != _masked(data):
        raise InputDataError(f"{where}: the record's checksum is wrong")
    try:
        return layout.decode(data.data)
    except RecordError as error:
        raise InputDataError(f"{where}: {error}") from error


def read_records(folder: str, file: RecordFile, layout: RecordLayout) -> Iterator[Record]:
    """Reads all records of a file, in order; see `read_record`."""
    return (read_record(place, layout) for place in places(folder, file, layout))


def check_size(folder: str, file: RecordFile, layout: RecordLayout) -> None:
    """Makes sure, before a single record is read, that a file is there and as long as it should be.

    Raises:
        InputDataError: It is not; names the file and the byte.
    """
    path = posixpath.join(folder, file.name)
    of_file = places(folder, file, layout)
    expected = sum(place.frame_bytes for place in of_file)
    try:
        found = tf.io.gfile.stat(path).length
    except tf.errors.OpError as error:
        raise InputDataError(f"{path}: cannot be read: {_last_line(error)}") from error
    if found != expected:
        what = "cut short" if found < expected else "longer than its records"
        raise InputDataError(f"{path} byte {min(found, expected)}: {what}; expected {expected} bytes")


def _read_into(place: Place, frame: npt.NDArray[np.uint8]) -> int:
    """Fills `frame` as far as the file goes, and returns how far that is."""
    if place.is_local:  # Python's file reads into what it is given
        with open(place.path, "rb", buffering=0) as file:
            file.seek(place.offset)
            return file.readinto(frame.data) or 0
    with tf.io.gfile.GFile(place.path, "rb") as remote:
        remote.seek(place.offset)
        data = remote.read(len(frame))
    frame[: len(data)] = np.frombuffer(data, np.uint8)
    return len(data)


def _last_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[-1]


def _masked(data: npt.NDArray[np.uint8]) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
