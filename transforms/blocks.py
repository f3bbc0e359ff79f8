"""Cuts a table's file into newline-aligned blocks that can be parsed apart from each other, each knowing its first line."""

from collections.abc import Iterator
from dataclasses import dataclass

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.sources import Source, open_text


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of one file.

    Attributes:
        source: The file.
        first_line: Number of the first line, counted from 1 for the header.
        offset: Where the block starts in a plain file, in bytes.
        length: Bytes in a plain file.
        data: The lines themselves where the file is compressed (its middle cannot be read on its own), else None.
    """

    source: Source
    first_line: int
    offset: int
    length: int
    data: bytes | None

    def read(self) -> bytes:
        """Returns the lines."""
        if self.data is not None:
            return self.data
        with FileSystems.open(self.source.path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.seek(self.offset)
            return file.read(self.length)


def cut(source: Source, block_bytes: int) -> Iterator[Block]:
    """Yields the blocks of a file in order, without its header; each at least one line, about `block_bytes` long.

    The file is read once, to count lines: newline counting runs at memory speed and gives every later message its line number.

    Raises:
        InputDataError: The file is damaged, or holds no row.
    """
    with open_text(source.path) as text:
        offset, line, rest = len(text.readline()), 2, b""
        while True:
            chunk = text.read(block_bytes)
            data = rest + chunk
            if not data:
                return
            end = data.rfind(b"\n") + 1 if chunk else len(data)
            if end == 0:  # no line ends in here: read on
                rest = data
                continue
            rest = data[end:]
            yield Block(source, line, offset, end, None if source.is_plain else data[:end])
            offset += end
            line += data.count(b"\n", 0, end)
