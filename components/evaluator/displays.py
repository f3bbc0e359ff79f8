"""What an evaluation says of each eval display: the `displays/` folder beside TFMA's files in the `evaluation` artifact.

Metrics are means over displays, and a mean tells nothing of its error. With the displays themselves two models can be compared in
pairs, resampled, or cut by further columns, without another evaluation.
"""

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from schemas.errors import InputDataError

FOLDER = "displays"
AP, AP_BLESSED, AP_RANDOM, AP_POPULARITY = "map_at_12", "map_at_12_blessed", "map_at_12_random", "map_at_12_popularity"
SLICE_PREFIX = "slice."

_COLUMNS = (
    ("display_id", pa.int64()),
    ("ads", pa.int32()),
    ("clicks", pa.int32()),
    (AP, pa.float64()),
    (AP_BLESSED, pa.float64()),
    (AP_RANDOM, pa.float64()),
    (AP_POPULARITY, pa.float64()),
)


def displays_schema(slices: tuple[str, ...], has_baseline: bool) -> pa.Schema:
    """Returns the columns of the table, in order.

    * `display_id` int64, `ads` and `clicks` int32: the display, its ads, and how many of them were clicked.
    * `map_at_12` float64: AP@12 of the candidate's ranking; null where nothing was clicked, as in the three that follow.
    * `map_at_12_blessed` float64: that of the latest blessed model on the same display; absent where there was none.
    * `map_at_12_random`, `map_at_12_popularity` float64: the expected AP@12 of a random order, and that of the popularity ranking.
    * `slice.NAME` string: the display's value of the slice column NAME; null where it has none.

    Args:
        slices: Names of the single slice columns.
        has_baseline: Whether there was a latest blessed model.
    """
    kept = [(name, kind) for name, kind in _COLUMNS if has_baseline or name != AP_BLESSED]
    return pa.schema(kept + [(f"{SLICE_PREFIX}{name}", pa.string()) for name in slices])


def write_displays(displays: pa.Table, evaluation: str | Path, number: int, files: int) -> None:
    """Writes one of the `files` Parquet files, under its name only when it is whole; writing it again is harmless.

    Args:
        displays: Columns as in `displays_schema`.
        evaluation: Folder of the `evaluation` artifact.
        number: Which of the files, from 0.
        files: How many there will be.
    """
    folder = Path(evaluation) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{number}"
    parquet.write_table(displays, aside)
    aside.rename(folder / f"displays-{number:05d}-of-{files:05d}.parquet")


def read_displays(evaluation: str | Path) -> pa.Table:
    """Reads all displays of an evaluation, ascending by `display_id`.

    Args:
        evaluation: Folder of the `evaluation` artifact.

    Returns:
        Columns as in `displays_schema`.

    Raises:
        InputDataError: There are none, or a file is missing or damaged.
    """
    folder = Path(evaluation) / FOLDER
    files = sorted(folder.glob("displays-*.parquet"))
    if not files:
        raise InputDataError(f"{folder}: holds no displays; run the Evaluator again")
    expected = int(files[0].stem.rpartition("-of-")[2] or 0)
    if len(files) != expected:
        raise InputDataError(f"{folder}: files are missing; run the Evaluator again. Received: {len(files)} of {expected} files")
    tables = []
    for file in files:
        try:
            tables.append(parquet.read_table(file, partitioning=None))
        except (OSError, pa.ArrowException) as error:
            raise InputDataError(f"{file}: {str(error).splitlines()[0]}; run the Evaluator again") from error
    return pa.concat_tables(tables).sort_by("display_id")


def slice_columns(displays: pa.Table) -> tuple[str, ...]:
    """Returns the names of the slice columns, without their prefix."""
    return tuple(name.removeprefix(SLICE_PREFIX) for name in displays.column_names if name.startswith(SLICE_PREFIX))
