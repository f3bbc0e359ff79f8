"""What reading the raw tables came to: counts, bad rows, and whether there are too many of them."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from schemas.config import SplitConfig
from schemas.errors import InputDataError
from transforms.parse import LINES_PER_FILE, Reject

COUNTS_FILE, REJECTS_FILE = "counts.json", "rejects.csv"
_COLUMNS = ("table", "file", "line", "reason", "text")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_counts(counts: Iterable[tuple[str, int]], path: str) -> None:
    """Writes {name: number} as JSON, the numbers of one name added up."""
    _write(path, json.dumps(dict(sorted(_total(counts).items())), indent=1) + "\n")


def write_rejects(rejects: Iterable[Reject], path: str, files: Mapping[str, Sequence[str]]) -> None:
    """Writes bad rows as CSV by table, file and line; a cell that a spreadsheet would take for a formula gets a leading quote.

    Args:
        rejects: The bad rows, in any order.
        path: Where to.
        files: For each table its files, as rejects should name them.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for reject in sorted(rejects, key=lambda r: (r.table, r.line, r.reason)):
        file, line = divmod(reject.line, LINES_PER_FILE)
        cells = (reject.table, files[reject.table][file], str(line), reject.reason, reject.text)
        writer.writerow([_defused(cell) for cell in cells])
    _write(path, text.getvalue())


def read_counts(path: str) -> dict[str, int]:
    """Reads what `write_counts` wrote."""
    with FileSystems.open(path) as file:
        return json.loads(file.read())


def first_rejects(path: str) -> dict[str, str]:
    """Returns table -> "FILE line N: reason" of its first bad row in a file that `write_rejects` wrote."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        rows = csv.DictReader(io.StringIO(file.read().decode()))
        first: dict[str, str] = {}
        for row in rows:
            first.setdefault(row["table"], f"{row['file']} line {row['line']}: {row['reason']}")
    return first


def check_bad_rows(counts: Mapping[str, int], first: Mapping[str, str], max_bad_fraction: float, rejects_path: str) -> None:
    """Stops a run that had to reject too much.

    Raises:
        InputDataError: The bad rows of some table are more than `max_bad_fraction` of its rows.
    """
    for name, rows in sorted(counts.items()):
        kind, _, table = name.partition("/")
        bad = counts.get(f"bad/{table}", 0)
        if kind == "rows" and bad > max_bad_fraction * rows:
            raise InputDataError(
                f"{table}: {bad} of {rows} rows are bad ({bad / rows:.2%}; ingest.max_bad_fraction allows {max_bad_fraction:.2%}); "
                f"the first is {first.get(table, 'unknown')}; all are in {rejects_path}"
            )


def check_known_ads(counts: Mapping[str, int], max_unknown_ads: float) -> None:
    """Stops a run whose table of ads is not the one of its clicks.

    Raises:
        InputDataError: The rows whose ad is not in promoted_content are more than `max_unknown_ads` of all.
    """
    rows = sum(number for name, number in counts.items() if name.startswith("examples/"))
    unknown = counts.get("join_miss/promoted_content", 0)
    if unknown > max_unknown_ads * rows:
        raise InputDataError(
            f"promoted_content: lacks the ads of {unknown} of {rows} rows ({unknown / rows:.2%}; "
            f"ingest.max_unknown_ads allows {max_unknown_ads:.2%}); is it the table of this log?"
        )


def check_splits(counts: Mapping[str, int], split: SplitConfig) -> None:
    """Stops a run that would have nothing to train or evaluate on.

    Raises:
        InputDataError: A split is empty; says which days the log covers.
    """
    days = sorted(int(name.partition("/")[2]) for name in counts if name.startswith("displays_on_day/"))
    covered = f"the log's displays are of day {days[0]} to {days[-1]}" if days else "the log has no valid display"
    for name in ("train", "eval"):
        if not counts.get(f"displays/{name}"):
            raise InputDataError(
                f"no display falls into the {name} split: split.eval_days is {list(split.eval_days)}, "
                f"split.eval_fraction {split.eval_fraction:g}, and {covered}; "
                "for a short log try --set split.eval_days=[] --set split.eval_fraction=0.2"
            )


def _total(counts: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, number in counts:
        total[name] += number
    return total


def _defused(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell


def _write(path: str, text: str) -> None:
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(text.encode())
