import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.prebatch.manifest import read_manifest
from components.prebatch.pack import cut_records
from schemas import features
from schemas.errors import InputDataError
from schemas.records import record_layout
from tests.components.conftest import ENCODING
from tests.prebatched import pack
from tests.rows import random_rows


@pytest.fixture(scope="module")
def layout():
    return record_layout(features.model_inputs(**ENCODING))


def read_split(folder, layout):
    """Manifest, and the decoded records of each file."""
    manifest = read_manifest(str(folder), folder.name)
    return manifest, {
        file.name: [layout.decode(r.numpy()) for r in tf.data.TFRecordDataset(str(folder / file.name))] for file in manifest.files
    }


def rows_of(files):
    """All rows with their display, as sorted tuples."""
    rows = []
    for records in files.values():
        for record in records:
            display = np.repeat(record.display_ids, record.sizes)
            columns = [display, *(record.columns[name] for name in sorted(record.columns))]
            rows += [tuple(float(v) for c in columns for v in np.ravel(c[i])) for i in range(len(display))]
    return sorted(rows)


def transformed_rows(out, split):
    spec = {"display_id": tf.io.FixedLenFeature([], tf.int64), "label": tf.io.FixedLenFeature([], tf.int64)}
    files = sorted(map(str, (out / split).glob("*.gz")))
    pairs = []
    for example in tf.data.TFRecordDataset(files, "GZIP"):
        row = tf.io.parse_single_example(example, spec)
        pairs.append((int(row["display_id"]), int(row["label"])))
    return sorted(pairs)


@pytest.mark.parametrize("split", ["train", "eval"])
def test_every_row_is_in_one_record(transformed, layout, split):
    manifest, files = read_split(transformed / "records" / f"Split-{split}", layout)
    pairs = []
    for records in files.values():
        for record in records:
            pairs += zip(np.repeat(record.display_ids, record.sizes).tolist(), record.columns["label"].tolist(), strict=True)
    assert sorted(pairs) == transformed_rows(transformed, split)
    assert manifest.rows == len(pairs)


def test_the_manifest_tells_the_truth(transformed, layout):
    manifest, files = read_split(transformed / "records" / "Split-train", layout)
    assert manifest.shards == 8
    assert {file.shard for file in manifest.files} == set(range(8))
    for file in manifest.files:
        records = files[file.name]
        assert file.rows == tuple(len(r.columns["label"]) for r in records)
        assert file.displays == tuple(len(r.sizes) for r in records)
        assert file.longest == max(r.sizes.max() for r in records)


def test_a_display_is_whole_and_in_one_shard(transformed, layout):
    manifest, files = read_split(transformed / "records" / "Split-train", layout)
    ids = np.concatenate([r.display_ids for records in files.values() for r in records])
    assert len(set(ids.tolist())) == len(ids) == manifest.displays


def test_the_order_is_shuffled_and_does_not_depend_on_the_input(transformed, layout, tmp_path):
    """The input's rows in another order and in other files give the same bytes."""
    other = tmp_path / "other"
    shutil.copytree(transformed, other, ignore=shutil.ignore_patterns("records"))
    for split in ("train", "eval"):
        files = sorted((other / split).glob("*.gz"))
        examples = [e.numpy() for e in tf.data.TFRecordDataset(list(map(str, files)), "GZIP")]
        np.random.default_rng(0).shuffle(examples)
        files[0].unlink()
        with tf.io.TFRecordWriter(str(files[1]), "GZIP") as writer:
            for example in examples:
                writer.write(example)
    pack(other, ENCODING, tmp_path / "records")
    for file in (tmp_path / "records" / "Split-train").iterdir():
        assert file.read_bytes() == (transformed / "records" / "Split-train" / file.name).read_bytes(), file.name
    _, files = read_split(tmp_path / "records" / "Split-train", layout)
    ids = np.concatenate([r.display_ids for records in files.values() for r in records])
    assert abs(np.corrcoef(ids, np.arange(len(ids)))[0, 1]) < 0.3


def test_sizes_and_several_files_a_shard(transformed, layout, tmp_path):
    pack(transformed, ENCODING, tmp_path / "records", prebatch_size=20, shards=2, file_bytes=10_000)
    manifest, files = read_split(tmp_path / "records" / "Split-train", layout)
    assert len(manifest.files) > 2
    assert [len(manifest.of_shard(s)) for s in range(3)] == [len(manifest.files) // 2] * 2 + [0]
    assert all(n <= 20 for file in manifest.files for n in file.rows)
    assert rows_of(files) == rows_of(read_split(transformed / "records" / "Split-train", layout)[1])


@given(st.lists(st.integers(1, 12), max_size=60), st.integers(1, 30))
@settings(max_examples=60)
def test_records_hold_whole_displays_and_as_many_as_fit(sizes, record_rows):
    n = sum(sizes)
    packed = np.arange(n, dtype=np.uint8).reshape(n, 1)
    cuts = list(cut_records(packed, np.array(sizes, int), np.arange(len(sizes)), record_rows))
    assert b"".join(p.tobytes() for p, _, _ in cuts) == packed.tobytes()
    assert [i for _, _, ids in cuts for i in ids] == list(range(len(sizes)))
    for (rows, of_record, _), following in zip(cuts, [*cuts, None][1:], strict=True):
        assert len(rows) == sum(of_record)
        assert len(rows) <= record_rows or len(of_record) == 1
        if following is not None:
            assert len(rows) + following[1][0] > record_rows


def test_replay_is_whole_displays_of_the_eval_split(transformed):
    replay = tf.data.TFRecordDataset(str(transformed / "records" / "replay" / "examples.tfrecord"))
    spec = {"display_id": tf.io.FixedLenFeature([], tf.int64)}
    ids = [int(tf.io.parse_single_example(e, spec)["display_id"]) for e in replay]
    rows = random_rows(300, seed=1)["display_id"].to_pylist()
    assert len(ids) >= 1000 or sorted(ids) == sorted(rows)
    assert all(ids.count(d) == rows.count(d) for d in set(ids))


def test_damaged_examples_are_named(transformed, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(transformed, other, ignore=shutil.ignore_patterns("records"))
    file = sorted((other / "train").glob("*.gz"))[0]
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(Exception, match=f"{file.name}: damaged"):
        pack(other, ENCODING, tmp_path / "records")


def test_manifest_faults(transformed, tmp_path):
    folder = tmp_path / "Split-train"
    shutil.copytree(transformed / "records" / "Split-train", folder)
    manifest = folder / "manifest.json"
    good = manifest.read_text()
    name = json.loads(good)["files"][3]["name"]
    (folder / name).unlink()
    with pytest.raises(InputDataError, match=f"{name}: no such file"):
        read_manifest(str(folder), "train")
    manifest.write_text(good[:100])
    with pytest.raises(InputDataError, match="damaged"):
        read_manifest(str(folder), "train")
    manifest.write_text(json.dumps(json.loads(good) | {"files": []}))
    with pytest.raises(InputDataError, match="no rows"):
        read_manifest(str(folder), "train")
    manifest.unlink()
    with pytest.raises(InputDataError, match="not made by Prebatch"):
        read_manifest(str(folder), "train")
