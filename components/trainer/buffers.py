"""Memory for batches that is used again: filling fresh memory costs more than everything else that is done with a row."""

import weakref

import numpy as np
import numpy.typing as npt
import tensorflow as tf

_ALIGNMENT = 64
"""What TensorFlow wants of memory that it has not allocated itself, bytes."""


class Buffers:
    """Matrices of one dtype and width, each free again when the tensor made of it is gone.

    Args:
        dtype: Of the elements.
        width: Columns.
    """

    def __init__(self, dtype: npt.DTypeLike, width: int):
        self._dtype, self._width = np.dtype(dtype), width
        self._free: list[npt.NDArray[np.uint8]] = []

    def take(self, rows: int) -> npt.NDArray:
        """Returns a matrix (rows, width) of no particular content."""
        size = rows * self._width * self._dtype.itemsize
        memory = self._free.pop() if self._free else np.zeros(0, np.uint8)
        if len(memory) < size:
            memory = _aligned(size)
        matrix = memory[:size].view(self._dtype).reshape(rows, self._width)
        # The base of a view of a view is the memory itself: nothing but the matrix and what is made of it keep it from being free.
        weakref.finalize(matrix, self._free.append, memory).atexit = False
        return matrix


def as_tensor(matrix: npt.NDArray) -> tf.Tensor:
    """Makes a matrix of `Buffers` a tensor without a copy; the matrix must not be written to any more."""
    if not matrix.size:
        return tf.zeros(matrix.shape, matrix.dtype)
    return tf.experimental.dlpack.from_dlpack(matrix.__dlpack__())


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size]
