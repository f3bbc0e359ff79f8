"""What feature engineering costs, beside the same core written by hand in polars and in duckdb.

Every contender has a process of its own. This one stays small and imports nothing large: Linux counts the peak memory of the
process that starts another as that other's, too.
"""

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import run

PAGE_VIEWS = (400_000, 2_000_000, 10_000_000)
VIEWS_A_DISPLAY = 20
WHOLE_AT_MOST = 2_000_000
"""Page views up to which the whole feature set is measured, too, from plain and from zipped tables."""

OURS, OURS_WHOLE, OURS_ZIPPED = "clickrank, core", "clickrank, all features", "clickrank, all, zipped"
BY_HAND = {"polars, core": "benchmarks.core_polars", "duckdb, core": "benchmarks.core_duckdb"}


class Measured(NamedTuple):
    """What one contender took for one log.

    Attributes:
        page_views: Page views of the log.
        displays: Its labelled displays.
        contender: Whose code, and which features.
        cpu_s: User and system CPU seconds of all its processes, start-up included.
        wall_s: Seconds from start to end.
        peak_rss_mb: Peak resident memory of its largest process, 10^6 bytes.
    """

    page_views: int
    displays: int
    contender: str
    cpu_s: float
    wall_s: float
    peak_rss_mb: float


def measure(
    page_views: Sequence[int] = PAGE_VIEWS, logs: Path | None = None, done: Callable[[Measured], None] = lambda _: None
) -> list[Measured]:
    """Measures all contenders on a synthetic log of each size, and checks that they agree.

    Args:
        page_views: Sizes of the logs; there is a labelled display for every 20 page views.
        logs: Folder in which the logs stay for the next time; a temporary one unless given.
        done: Is told each result as it comes.

    Raises:
        BenchmarkError: See there.
    """
    results: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="clickrank-bench-") as folder:
        for size in page_views:
            for result in _measure_log(size, (logs or Path(folder)).absolute(), Path(folder)):
                done(result)
                results.append(result)
    return results


def table(results: Sequence[Measured]) -> str:
    """Renders results for a screen."""
    lines = [f"{'page views':>12} {'displays':>10}  {'contender':<24} {'CPU s':>8} {'wall s':>8} {'peak MB':>8}"]
    lines += [
        f"{r.page_views:>12,} {r.displays:>10,}  {r.contender:<24} {r.cpu_s:>8.1f} {r.wall_s:>8.1f} {r.peak_rss_mb:>8,.0f}"
        for r in results
    ]
    return "\n".join(lines)


def _measure_log(page_views: int, logs: Path, folder: Path) -> Iterator[Measured]:
    displays = max(1, page_views // VIEWS_A_DISPLAY)
    log = logs / f"page-views-{page_views}"
    run("pipeline.cli", "synth", str(log), "--displays", str(displays), "--page-views", str(page_views))

    def result(contender: str, cost: tuple[float, float, float]) -> Measured:
        return Measured(page_views, displays, contender, *(round(value, 2) for value in cost))

    with _new(folder / "ours") as ours:
        yield result(OURS, run("benchmarks.feature_rows", str(log), str(ours), "--core"))
        for contender, module in BY_HAND.items():
            with _new(folder / "theirs.parquet") as theirs:
                yield result(contender, run(module, str(log), str(theirs)))
                run("benchmarks.agreement", str(ours), str(theirs))
    if page_views <= WHOLE_AT_MOST:
        with _new(folder / "whole") as whole:
            yield result(OURS_WHOLE, run("benchmarks.feature_rows", str(log), str(whole)))
        with _new(folder / "zipped") as zipped, _new(folder / "whole") as whole:
            _zip(log, zipped)
            yield result(OURS_ZIPPED, run("benchmarks.feature_rows", str(zipped), str(whole)))


def _zip(log: Path, zipped: Path) -> None:
    """Packs each table of a log, as the competition's tables are."""
    zipped.mkdir()
    for table in log.glob("*.csv"):
        with zipfile.ZipFile(zipped / f"{table.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(table, table.name)


@contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A path that nothing is left at."""
    yield path
    if path.is_dir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
