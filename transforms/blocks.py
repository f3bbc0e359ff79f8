"""Cuts a table's files into newline-aligned blocks that can be parsed apart from each other, each knowing its first line."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from schemas.tables import Table
from transforms.parse import LINES_PER_FILE, Reject, parse
from transforms.sources import File, Source
from transforms.text import open_text


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of one file.

    Attributes:
        file: The file.
        first_line: Number of the first line in the table; see `LINES_PER_FILE`. The header is line 1 of its file.
        offset: Where the block starts in a plain file, in bytes.
        length: Bytes in a plain file.
        data: The lines themselves where the file is compressed (its middle cannot be read on its own), else None.
    """

    file: File
    first_line: int
    offset: int
    length: int
    data: bytes | None

    def read(self) -> bytes:
        """Returns the lines."""
        if self.data is not None:
            return self.data
        with FileSystems.open(self.file.path, compression_type=CompressionTypes.UNCOMPRESSED) as opened:
            opened.seek(self.offset)
            return opened.read(self.length)


def cut(source: Source, block_bytes: int) -> Iterator[Block]:
    """Yields the blocks of all files of a table in order; see `cut_file`."""
    for file in source.files:
        yield from cut_file(file, block_bytes)


def cut_file(file: File, block_bytes: int) -> Iterator[Block]:
    """Yields the blocks of one file in order, without its header; each at least one line, about `block_bytes` long.

    The file is read once, to count lines: newline counting runs at memory speed and gives every later message its line number.

    Raises:
        InputDataError: The file is damaged.
    """
    with open_text(file.path) as text:
        offset, line, rest = len(text.readline()), file.number * LINES_PER_FILE + 2, b""
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
            yield Block(file, line, offset, end, None if file.is_plain else data[:end])
            offset += end
            line += data.count(b"\n", 0, end)


def parse_block(block: Block, table: Table) -> tuple[pa.Table, list[Reject]]:
    """Reads a block of a table and parses it; see `parse`."""
    return parse(block.read(), table, block.file.header, block.first_line, block.file.path)
