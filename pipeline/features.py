"""Feature engineering alone: raw tables in, a folder of Parquet out, by the same code as the pipeline's ClickExampleGen."""

import difflib
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from pipeline.beam import beam_args
from pipeline.noise import log_to
from pipeline.run import peak_rss_bytes
from pipeline.siblings import file_errors, kept_log, temporary_sibling
from schemas.config import Config
from schemas.errors import ConfigError, InputDataError
from schemas.features import columns as all_columns
from schemas.tables import OUTBRAIN

KEYS = ("display_id", "ad_id", "label")
"""Columns that every file has."""

METADATA_KEY = b"clickrank.features"
"""Key of the Parquet files' metadata under which the configuration of the features is, as JSON."""


def features(data: Path, out: Path, config: Config, *, columns: Sequence[str] = (), audit: bool, verbose: bool) -> dict[str, Any]:
    """Computes the features of all labelled displays.

    Makes the folder `out` complete or not at all: `train-*.parquet` and `eval-*.parquet`, a row for each display and ad with the
    columns of `transforms.examples.arrow_schema()` (null where missing), `counts.json`, `rejects.csv`, and `audit.json` if audited.
    Work in progress is in a hidden folder beside it. Prints a summary to standard error.

    Args:
        data: Folder of the raw tables.
        out: Folder to make; must not exist, or be empty. Missing parents are made.
        config: The sections `ingest`, `split`, `features`, `audit` and `beam` are read.
        columns: Compute these columns of the feature table only, and `KEYS`, which every file has; all if none is given.
        audit: Whether to run the leak audit (`pipeline/audit.py`), too; it needs all columns. The result stays if it fails.
        verbose: Leave the libraries' messages on the screen.

    Returns:
        Ready for JSON: `path`, `history`, `rows` by split, `bad_rows` by table, `seconds`, `cpu_seconds` (of this process and the
        children it waited for), `peak_rss_bytes`, and `audit`, None unless asked for.

    Raises:
        ConfigError: `out` is not free or cannot be written, a column is not one, or there is an audit of some columns.
        InputDataError: The tables cannot be used, have too many bad rows, or leave a split empty; the bad rows are then listed in
            `<out>.rejects.csv`.
        ClickrankError: Anything else; the log is then in `<out>.log.txt`.
    """
    start, cpu = time.monotonic(), _cpu_seconds()
    chosen = _columns(columns, audit)
    out = out.resolve()  # so that the rename replaces an empty folder and not a link to it
    _check_free(out)
    with file_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary_sibling(out, "features") as aside:
            log = aside / "log.txt"
            with log_to(log, verbose) as screen, kept_log(log, out, verbose):
                counts, found = _make(data, out, aside, config, chosen, audit)
                # An empty folder is replaced in the same step; one that was filled meanwhile is not.
                os.rename(aside / "result", out)
                result = {
                    "path": str(out),
                    "history": config.features.history,
                    "rows": {name: counts[f"examples/{name}"] for name in ("train", "eval")},
                    "bad_rows": {name.partition("/")[2]: n for name, n in counts.items() if name.startswith("bad/") and n},
                    "seconds": round(time.monotonic() - start, 1),
                    "cpu_seconds": round(_cpu_seconds() - cpu, 1),
                    "peak_rss_bytes": peak_rss_bytes(),
                    "audit": found,
                }
                _print(result, screen)
    return result


def _columns(names: Sequence[str], audit: bool) -> frozenset[str]:
    known = all_columns()
    if audit and names:
        raise ConfigError(f"the audit needs all columns: leave out --audit or --column. Received: {', '.join(names)}")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ConfigError(f"no column of the feature table has this name{hint} Received: {name}")
    return frozenset({*KEYS, *names} if names else known)


def _make(
    data: Path, out: Path, aside: Path, config: Config, chosen: frozenset[str], with_audit: bool
) -> tuple[dict[str, int], dict[str, Any] | None]:
    """Fills `aside / "result"`; returns the counts and the audit."""
    # Beam takes a second or two to import: after the checks that do not need it, and behind the log.
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipeline.audit import audit
    from transforms import ingest_report
    from transforms.audit import AUDIT_FILE
    from transforms.compute_features import ComputeFeatures, write_ingest_report
    from transforms.feature_job import plan

    work, result = aside / "work", aside / "result"
    for folder in (work, result):
        folder.mkdir()
    job, rejects, counts = plan(str(data), str(work), OUTBRAIN, config.ingest, config.features, config.split, columns=chosen)
    with beam.Pipeline(options=PipelineOptions(beam_args(config.beam))) as pipeline:
        rows = pipeline | ComputeFeatures(job)
        made_with = config.features.model_dump_json()
        _ = rows["rows"] | "WriteParquet" >> beam.Map(_write_parquet, str(result), job.partitions, made_with)
        write_ingest_report(rows, job, rejects, counts, str(result))
    shutil.rmtree(work)

    total = ingest_report.read_counts(str(result / ingest_report.COUNTS_FILE))
    bad, kept = result / ingest_report.REJECTS_FILE, out.with_name(f"{out.name}.rejects.csv")
    try:
        ingest_report.check_bad_rows(total, ingest_report.first_rejects(str(bad)), config.ingest.max_bad_fraction, str(kept))
        ingest_report.check_known_ads(total, config.ingest.max_unknown_ads)
        ingest_report.check_splits(total, config.split)
    except InputDataError:
        shutil.copyfile(bad, kept)
        raise
    found = None
    if with_audit:
        found = audit(result, job.sources.get("page_views"), config.ingest.block_bytes, config.audit.max_auc_gap)
        (result / AUDIT_FILE).write_text(json.dumps(found, indent=1) + "\n")
    return total, found


def _write_parquet(element: tuple[int, bytes | str], folder: str, partitions: int, made_with: str) -> None:
    """Writes one partition's rows to one file a split; doing it again gives the same files."""
    from transforms.base_rows import SPLIT
    from transforms.partition import receive
    from transforms.split import EVAL, SPLIT_NAMES, TRAIN

    number, packed = element
    rows = receive(packed)
    for code in (TRAIN, EVAL):
        chosen = rows.filter(pc.equal(rows[SPLIT], pa.scalar(code))).drop_columns([SPLIT])
        if chosen.num_rows:
            name = f"{SPLIT_NAMES[code]}-{number:05d}-of-{partitions:05d}.parquet"
            aside = f"{folder}/.{name}-{os.getpid()}-{time.monotonic_ns()}"
            parquet.write_table(chosen.replace_schema_metadata({METADATA_KEY: made_with}), aside, compression="zstd")
            os.replace(aside, f"{folder}/{name}")


def _check_free(out: Path) -> None:
    above = next(parent for parent in out.parents if parent.exists())
    if not above.is_dir():
        raise ConfigError(f"OUT must be in a folder, and {above} is none. Received: {out}")
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"OUT must be a folder. Received: {out}")
    if (out / "counts.json").exists() and any(out.glob("train-*.parquet")):
        raise ConfigError(f"{out}: holds the finished result of an earlier `clickrank features`; remove it, or give another OUT")
    if any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty; give a folder that does not exist, or an empty one")
    if os.path.ismount(out):  # the rename could not replace it
        raise ConfigError(f"OUT must not be a mount point, a folder below it will do. Received: {out}")


def _cpu_seconds() -> float:
    """User and system time of this process and its finished children."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _print(result: dict[str, Any], screen: TextIO) -> None:
    from pipeline.audit import lines

    def say(line: str) -> None:
        screen.write(line + "\n")

    for split, count in result["rows"].items():
        say(f"{count:>12,} rows  {split}")
    bad = ", ".join(f"{n:,} of {table}" for table, n in result["bad_rows"].items())
    say(f"{sum(result['bad_rows'].values()):>12,} bad rows left out{f' ({bad})' if bad else ''}")
    if result["audit"] is not None:
        for line in lines(result["audit"]):
            say(line)
    memory = f"{result['peak_rss_bytes'] / 2**30:.1f} GiB"
    say(f"Took {result['seconds']:.0f} s, {result['cpu_seconds']:.0f} s of CPU, peak memory {memory}: {result['path']}")
