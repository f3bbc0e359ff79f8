"""What Prebatch does, on any Beam pipeline."""

import posixpath
from collections.abc import Callable, Mapping, Sequence

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft

from components.prebatch import replay
from components.prebatch.manifest import Manifest, RecordFile, write_manifest
from components.prebatch.pack import ReadPacked, WriteRecords, parse_spec
from schemas.config import EncodingConfig, PrebatchConfig
from schemas.records import RecordLayout, record_layout

SPLITS = ("train", "eval")

MakePipeline = Callable[[], beam.Pipeline]


def prebatch(
    make_pipeline: MakePipeline,
    transformed: Mapping[str, Sequence[str]],
    raw_eval: Sequence[str],
    transform_graph: str,
    config: PrebatchConfig,
    encoding: EncodingConfig,
    out: str,
) -> tuple[str, ...]:
    """Writes Split-train/ and Split-eval/ with records and a manifest each, and replay/, into the existing folder `out`.

    Args:
        make_pipeline: Makes a new Beam pipeline.
        transformed: Split -> GZIP TFRecord files of transformed Examples.
        raw_eval: GZIP TFRecord files of the eval split's raw Examples.
        transform_graph: Folder of the TFT output.
        config: The `prebatch` section.
        encoding: The `encoding` section that Transform ran with.
        out: Folder that all workers reach.

    Returns:
        The names of what was written into `out`, to be moved to where it belongs; the rest is scratch.

    Raises:
        InputDataError: Examples cannot be read, or a row has no label.
        ConfigError: Transform did not write one of the features.
    """
    layout = record_layout(encoding.inputs())
    spec = parse_spec(tft.TFTransformOutput(transform_graph).transformed_feature_spec(), layout)
    names = [f"Split-{split}" for split in SPLITS]
    manifests = {
        split: _pack_split(make_pipeline, transformed[split], layout, spec, config, posixpath.join(out, name))
        for split, name in zip(SPLITS, names, strict=True)
    }
    chosen = replay.choose_displays(posixpath.join(out, "Split-eval"), manifests["eval"], layout)
    found = posixpath.join(out, replay.REPLAY_FOLDER)
    tf.io.gfile.makedirs(found)
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(list(raw_eval))
            | beam.Reshuffle()
            | "Pick" >> beam.ParDo(replay.PickDisplays(chosen))
            | "Gather" >> beam.combiners.ToList()
            | "Write" >> beam.Map(replay.write_replay, posixpath.join(found, replay.REPLAY_FILE))
        )
    return (*names, replay.REPLAY_FOLDER)


def _pack_split(
    make_pipeline: MakePipeline,
    files: Sequence[str],
    layout: RecordLayout,
    spec: dict[str, tf.io.FixedLenFeature],
    config: PrebatchConfig,
    folder: str,
) -> Manifest:
    parcels, stats = f"{folder}-parcels", f"{folder}-files"
    for made in (folder, parcels):
        tf.io.gfile.makedirs(made)
    # Compressed Examples and records are about as large as each other, 250 and 200 bytes a row.
    size = sum(tf.io.gfile.stat(path).length for path in files)
    count = config.shards * (1 + size // (config.shards * config.file_bytes))
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(list(files))
            | beam.Reshuffle()
            | "Read" >> beam.ParDo(ReadPacked(layout, spec, count, parcels))
            | "ToFile" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(WriteRecords(layout, config.prebatch_size, config.shards, folder))
            | "Describe" >> beam.Map(RecordFile.model_dump_json)
            | "Stats" >> beam.io.WriteToText(stats, shard_name_template="")
        )
    with tf.io.gfile.GFile(stats) as lines:
        described = [RecordFile.model_validate_json(line) for line in lines.read().splitlines()]
    manifest = Manifest(
        fingerprint=layout.fingerprint,
        record_rows=config.prebatch_size,
        shards=config.shards,
        files=tuple(sorted(described, key=lambda file: file.name)),
    )
    write_manifest(folder, manifest)
    return manifest
