"""Scores displays with a pushed model, from raw tables or from tf.Examples."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from components.pusher import versions
from components.pusher.manifest import damage
from pipeline.noise import log_to
from pipeline.siblings import file_errors, kept_log, temporary_sibling
from schemas.beam import LOCAL_BEAM_RUNNER
from schemas.config import FeaturesConfig, IngestConfig
from schemas.errors import ConfigError, InputDataError
from schemas.serving import EXAMPLES, FEATURES_FILE, SCORE, SERVING_DEFAULT, check_signatures
from schemas.tables import OUTBRAIN
from transforms import ingest_report
from transforms.partition import Parcel, receive

_log = logging.getLogger(__name__)

_BATCH_ROWS = 8192
_RANKED = [("display_id", "ascending"), ("score", "descending"), ("ad_id", "ascending")]


def predict(model: Path, data: Path, out: Path, ingest: IngestConfig, *, submission: bool, verbose: bool) -> dict[str, Any]:
    """Scores every ad and writes `display_id, ad_id, score`, or a submission, under the name `out` once it is complete.

    Rows are by display_id, then score from high to low, ties by ad_id. Features from tables are made with the settings that the
    model was trained with; all labelled clicks before a display are its history.

    Args:
        model: A version's folder, or a folder of versions, of which the one in service is taken.
        data: A folder of raw tables (the displays of clicks_test are scored, else those of clicks_train), or of tf.Examples.
        out: `.csv` or `.parquet`.
        ingest: How many bad rows are let pass; they are left out, and written to `out`.rejects.csv.
        submission: Write one line a display with its ads, best first, as the competition wants it.
        verbose: Leave the libraries' messages on the screen.

    Returns:
        `rows`, `displays`, `version`, `path`.

    Raises:
        ConfigError: There is no such model, it is damaged or has no such signature, or `out` cannot be written.
        InputDataError: The data cannot be used.
        ClickrankError: Anything else; the log is then in `<out>.log.txt`.
    """
    version = _version(model)
    if out.suffix not in (".csv", ".parquet") or (submission and out.suffix != ".csv"):
        raise ConfigError(f"OUT must end in .csv{'' if submission else ' or .parquet'}. Received: {out.name!r}")
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent}: no such folder")
    with (
        file_errors(out),
        temporary_sibling(out, "predict") as work,
        log_to(work / "log.txt", verbose),
        kept_log(work / "log.txt", out, verbose),
    ):
        loaded = _load(version)
        parts = [_score(loaded, batch) for batch in _batches(version, data, str(work), out, ingest)]
        if not parts:
            raise InputDataError(f"{data}: has no display to score")
        scored = pa.concat_tables(parts)
        scored = scored.take(pc.sort_indices(scored, _RANKED))
        aside = str(work / out.name)
        if submission:
            _write_submission(scored, aside)
        elif out.suffix == ".csv":
            csv.write_csv(scored, aside)
        else:
            parquet.write_table(scored, aside)
        os.replace(aside, out)
    displays = len(pc.unique(scored["display_id"]))
    return {"rows": scored.num_rows, "displays": displays, "version": version.name, "path": str(out)}


def _version(model: Path) -> Path:
    if (model / "saved_model.pb").exists():
        return model
    current = versions.current(model)
    if current is None:
        raise ConfigError(f"{model}: no SavedModel, and no numbered version of one")
    return current


def _load(version: Path) -> Any:
    """Loads a version, and checks that it can score."""
    import tensorflow as tf

    broken = damage(version, contents=False)
    if broken:
        raise ConfigError(f"{version}: damaged, {broken}")
    try:
        loaded = tf.saved_model.load(str(version))
        check_signatures(loaded.signatures, [SERVING_DEFAULT])
    except ValueError as error:
        raise ConfigError(f"{version}: cannot score: {error}") from error
    except (OSError, tf.errors.OpError, KeyError) as error:
        first = " ".join(str(error).split())[:200]
        raise ConfigError(f"{version}: cannot be loaded: {type(error).__name__}: {first}") from error
    return loaded


def _batches(version: Path, data: Path, work: str, out: Path, ingest: IngestConfig) -> Iterator[pa.Table]:
    """Yields tables of `display_id`, `ad_id`, `example` (serialised)."""
    files = sorted(str(file) for file in data.rglob("*tfrecord*"))
    yield from _from_examples(files) if files else _from_tables(version, data, work, out, ingest)


def _from_examples(files: list[str]) -> Iterator[pa.Table]:
    import tensorflow as tf

    ids = {name: tf.io.FixedLenFeature([], tf.int64) for name in ("display_id", "ad_id")}
    for file in files:
        records = tf.data.TFRecordDataset(file, compression_type="GZIP" if file.endswith(".gz") else "")
        try:
            for batch in records.batch(_BATCH_ROWS):
                parsed = tf.io.parse_example(batch, ids)
                yield pa.table({**{name: parsed[name].numpy() for name in ids}, "example": pa.array(batch.numpy(), pa.binary())})
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            raise InputDataError(f"{file}: not the tf.Examples of a click log: {str(error.message).splitlines()[0]}") from error


def _from_tables(version: Path, data: Path, work: str, out: Path, ingest: IngestConfig) -> Iterator[pa.Table]:
    import apache_beam as beam

    from transforms.compute_features import ComputeFeatures, write_ingest_report
    from transforms.dimensions import load
    from transforms.examples import encode
    from transforms.feature_job import plan
    from transforms.sources import find_sources
    from transforms.split import TEST

    file = version / FEATURES_FILE
    if not file.exists():
        raise ConfigError(f"{version}: {FEATURES_FILE} is missing, so it is not known how its features were made")
    with_test = "clicks_test" in find_sources(str(data), OUTBRAIN)
    features = FeaturesConfig(**json.loads(file.read_text()))
    job, rejects, counts = plan(str(data), work, OUTBRAIN, ingest, features, None, with_test=with_test)
    with beam.Pipeline(runner=LOCAL_BEAM_RUNNER) as pipeline:
        computed = pipeline | ComputeFeatures(job)
        _ = computed["rows"] | "Keep" >> beam.Map(_keep, work, TEST if with_test else None)
        write_ingest_report(computed, job, rejects, counts, work)
    _check_bad_rows(work, out, ingest)
    for part in sorted(Path(work).glob("part-*.arrow")):
        for batch in load(str(part)).to_batches(_BATCH_ROWS):
            table = pa.Table.from_batches([batch])
            yield pa.table({**{n: table[n] for n in ("display_id", "ad_id")}, "example": pa.array(encode(table), pa.binary())})


def _check_bad_rows(work: str, out: Path, ingest: IngestConfig) -> None:
    """Says how many rows could not be used, and stops if they are too many; which they are, is kept beside `out`."""
    counts = ingest_report.read_counts(f"{work}/{ingest_report.COUNTS_FILE}")
    ingest_report.check_known_ads(counts, ingest.max_unknown_ads)
    bad = {name.partition("/")[2]: number for name, number in counts.items() if name.startswith("bad/") and number}
    if bad:
        kept = out.with_name(f"{out.name}.rejects.csv")
        os.replace(f"{work}/{ingest_report.REJECTS_FILE}", kept)
        first = ingest_report.first_rejects(str(kept))
        ingest_report.check_bad_rows(counts, first, ingest.max_bad_fraction, str(kept))
        _log.warning("bad rows were left out (%s); they are in %s", ", ".join(f"{n} of {t}" for t, n in bad.items()), kept)


def _keep(element: tuple[int, Parcel], work: str, split: int | None) -> None:
    from transforms.base_rows import SPLIT
    from transforms.dimensions import save

    number, packed = element
    rows = receive(packed)
    if split is not None:
        rows = rows.filter(pc.equal(rows[SPLIT], pa.scalar(split)))
    save(rows.drop_columns([SPLIT, "label"]), f"{work}/part-{number:05d}.arrow")


def _score(loaded: Any, batch: pa.Table) -> pa.Table:
    import tensorflow as tf

    signature = loaded.signatures[SERVING_DEFAULT.name]
    scores = signature(**{EXAMPLES: tf.constant(batch["example"].to_pylist())})[SCORE].numpy()
    return batch.drop_columns(["example"]).append_column("score", pa.array(scores.astype(np.float32)))


def _write_submission(scored: pa.Table, path: str) -> None:
    """Writes `display_id,ad_id`: a display's ads separated by blanks, best first."""
    display, first = np.unique(scored["display_id"].to_numpy(), return_index=True)
    ads = np.split(scored["ad_id"].to_numpy().astype(str), first[1:])
    lines = [f"{d},{' '.join(a)}\n" for d, a in zip(display.tolist(), ads, strict=True)]
    Path(path).write_text("display_id,ad_id\n" + "".join(lines))
