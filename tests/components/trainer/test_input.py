import itertools
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf

from components.prebatch.manifest import Manifest, RecordFile, write_manifest
from components.trainer.input import Reader, Records, open_records, steps_per_epoch, unpack
from schemas import features
from schemas.errors import ConfigError, InputDataError
from schemas.features import Feature
from schemas.records import record_layout
from tests.components.conftest import ENCODING

AD = Feature("ad", "item", "id", "int64", "", buckets=1000, embedding_dim=2)
LAYOUT = record_layout((AD,))
SIZES = {0: [[3, 2], [4]], 1: [[1], [2, 2], [5, 1]]}
"""Shard -> records -> rows of their displays."""


def write_shards(folder, sizes=SIZES, layout=LAYOUT):
    """Writes one file a shard; ads are numbered through, and each display clicks its first ad."""
    folder.mkdir(exist_ok=True)
    files, ad, display = [], 0, 0
    for shard, records in sizes.items():
        name = f"records-{shard}.tfrecord"
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for of_record in records:
                n = sum(of_record)
                columns = {"ad": np.arange(ad, ad + n), "label": np.concatenate([np.arange(k) == 0 for k in of_record]).astype(int)}
                ids = np.arange(display, display + len(of_record))
                writer.write(layout.encode(layout.pack(columns), np.array(of_record), ids))
                ad, display = ad + n, display + len(of_record)
        rows = tuple(sum(of_record) for of_record in records)
        files.append(RecordFile(name=name, shard=shard, rows=rows, displays=tuple(map(len, records)), longest=9, digest=0))
    manifest = Manifest(fingerprint=layout.fingerprint, record_rows=6, shards=len(sizes), files=tuple(files))
    write_manifest(str(folder), manifest)
    return Records("train", str(folder), manifest, layout)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("small"))


def ads(batch, layout=LAYOUT):
    return unpack(batch.blocks, layout)[0]["ad"].numpy().tolist()


def read(records, size, seed=0, skip=0, **more):
    return [(ads(batch), batch.display.numpy().tolist()) for batch in Reader(records, size, **more).epoch(seed, skip)]


def test_a_batch_takes_as_many_rows_from_every_shard(small):
    assert [a for a, _ in read(small, 8)] == [[0, 1, 2, 3, 9, 10, 11, 12], [4, 5, 6, 7, 13, 14, 15, 16], [8, 17, 18, 19]]


def test_a_shard_that_has_ended_gives_no_more_rows(small):
    assert [a for a, _ in read(small, 2)][8:] == [[8, 17], [18], [19]]


def test_by_display_cuts_between_displays_only(small):
    # Shard 0: displays 0 1 2 are rows 0-2 3-4 5-8; shard 1: 3 4 5 6 7 are rows 9 10-11 12-13 14-18 19. Four rows of each a step:
    # a display goes where it starts.
    assert read(small, 8, by_display=True) == [
        ([0, 1, 2, 3, 4, 9, 10, 11, 12, 13], [0, 0, 0, 1, 1, 2, 3, 3, 4, 4]),
        ([5, 6, 7, 8, 14, 15, 16, 17, 18], [0, 0, 0, 0, 1, 1, 1, 1, 1]),
        ([19], [0]),
    ]


def test_a_display_that_is_larger_than_a_part_leaves_the_next_empty(tmp_path):
    records = write_shards(tmp_path / "r", {0: [[5], [2]]})
    assert read(records, 2, by_display=True) == [([0, 1, 2, 3, 4], [0] * 5), ([], []), ([5, 6], [0, 0]), ([], [])]


@pytest.mark.parametrize("by_display", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [2, 6, 8, 24, 100])
def test_every_row_once_in_the_steps_that_were_said(small, by_display, shuffle, size):
    batches = read(small, size, seed=3, by_display=by_display, shuffle=shuffle)
    assert sorted(itertools.chain(*(a for a, _ in batches))) == list(range(20))
    assert len(batches) == steps_per_epoch(small, size)


@pytest.mark.parametrize(("by_display", "shuffle", "replicas"), [(False, False, 2), (False, True, 4), (True, True, 2)])
def test_replicas_share_the_batches_of_one(transformed, by_display, shuffle, replicas):
    layout = record_layout(features.model_inputs(**ENCODING))
    records = open_records("train", str(transformed / "records" / "Split-train"), layout)

    def batches(replica, replicas):
        reader = Reader(records, 64, replica=replica, replicas=replicas, by_display=by_display, shuffle=shuffle)
        rows = []
        for batch in reader.epoch(1):
            inputs, labels = unpack(batch.blocks, layout)
            columns = [labels.numpy(), *(inputs[name].numpy() for name in sorted(inputs))]
            rows.append([tuple(float(v) for c in columns for v in np.ravel(c[i])) for i in range(len(columns[0]))])
        return rows

    whole = batches(0, 1)
    parts = [batches(r, replicas) for r in range(replicas)]
    assert {len(part) for part in parts} == {len(whole)}
    for step, expected in enumerate(whole):
        assert sorted(itertools.chain(*(part[step] for part in parts))) == sorted(expected)


@pytest.mark.parametrize("by_display", [False, True])
def test_going_on_is_reading_on(small, by_display):
    reader = Reader(small, 4, by_display=by_display, shuffle=True)
    whole = [ads(batch) for batch in reader.epoch(5)]
    for done in range(len(whole) + 1):
        assert [ads(batch) for batch in reader.epoch(5, done)] == whole[done:]


def test_every_seed_has_an_order_of_its_own(small):
    orders = [read(small, 4, seed=s, shuffle=True) for s in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[2] != read(small, 4)


def test_displays_stay_together_when_they_are_shuffled(small):
    for a, display in read(small, 8, seed=1, by_display=True, shuffle=True):
        of_ad = dict(enumerate(np.repeat(np.arange(8), [3, 2, 4, 1, 2, 2, 5, 1]).tolist()))
        true = [of_ad[ad] for ad in a]
        assert [k for k, _ in itertools.groupby(true)] == [next(g) for _, g in itertools.groupby(true)]
        assert len(set(zip(true, display, strict=True))) == len(set(true)) == len(set(display))


def test_a_shard_without_rows(tmp_path):
    records = write_shards(tmp_path / "r", {0: [[2]], 1: []})
    assert read(records, 2) == [([0], []), ([1], [])]


@pytest.mark.parametrize(("size", "replicas", "message"), [(3, 1, "no multiple of prebatch.shards"), (6, 3, "cannot share")])
def test_what_cannot_be_dealt_out(small, size, replicas, message):
    with pytest.raises(ConfigError, match=message):
        Reader(small, size, replicas=replicas)


def test_records_of_another_encoding(transformed):
    layout = record_layout(features.model_inputs(max_buckets=51, drop=ENCODING["drop"]))
    with pytest.raises(ConfigError, match="another encoding"):
        open_records("train", str(transformed / "records" / "Split-train"), layout)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (3, "byte 0: no record of 67 bytes begins here"),
        (9, "byte 0: no record of 67 bytes begins here"),
        (60, "byte 0: the record's checksum"),
        (-2, "byte 83: the record's checksum"),
    ],
)
def test_a_flipped_byte_is_found(tmp_path, at, message):
    records = write_shards(tmp_path / "r")
    path = tmp_path / "r" / "records-0.tfrecord"
    data = bytearray(path.read_bytes())
    data[at] ^= 0x20
    path.write_bytes(data)
    with pytest.raises(InputDataError, match=f"records-0.tfrecord {message}"):
        read(records, 4)


@pytest.mark.parametrize("keep", [5, 30, -1])
def test_a_file_that_is_cut_short(tmp_path, keep):
    records = write_shards(tmp_path / "r")
    path = tmp_path / "r" / "records-1.tfrecord"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputDataError, match=rf"records-1.tfrecord byte {path.stat().st_size}: cut short"):
        open_records("train", str(tmp_path / "r"), LAYOUT)
    with pytest.raises(InputDataError, match=r"records-1.tfrecord byte \d+: cut short"):  # cut after it was opened
        read(records, 4)


def test_a_file_that_is_gone(tmp_path):
    records = write_shards(tmp_path / "r")
    (tmp_path / "r" / "records-1.tfrecord").unlink()
    with pytest.raises(InputDataError, match=r"records-1.tfrecord: cannot be read: .*No such file"):
        read(records, 4)


def test_whole_files_are_opened(small):
    assert open_records("train", small.folder, LAYOUT).manifest == small.manifest


def test_a_foreign_file(tmp_path):
    records = write_shards(tmp_path / "r")
    path = tmp_path / "r" / "records-0.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"x" * 67)
    with pytest.raises(InputDataError, match=r"records-0.tfrecord byte 0: not a prebatched record"):
        read(records, 4)


def test_a_file_system_that_only_tensorflow_knows(small):
    for file in (*(f.name for f in small.manifest.files), "manifest.json"):
        tf.io.gfile.makedirs("ram://records")
        tf.io.gfile.copy(f"{small.folder}/{file}", f"ram://records/{file}", overwrite=True)
    far = open_records("train", "ram://records", LAYOUT)
    for more in ({}, {"seed": 1, "shuffle": True}, {"by_display": True, "skip": 1}):
        assert read(far, 8, **more) == read(small, 8, **more)


@pytest.mark.parametrize("rows_of_records", [[1] * 40, [40], [3, 17, 20]])
@pytest.mark.parametrize("size", [2, 14, 200])
def test_no_batch_changes_when_the_next_ones_are_read(tmp_path, rows_of_records, size):
    records = write_shards(tmp_path / "r", {0: [[1] * n for n in rows_of_records], 1: [[1] * 40]})
    one_by_one = [ads(batch) for batch in Reader(records, size, shuffle=True).epoch(3)]
    kept = list(Reader(records, size, shuffle=True).epoch(3))
    assert [ads(batch) for batch in kept] == one_by_one


def test_memory_is_used_again_when_a_batch_is_gone(tmp_path):
    records = write_shards(tmp_path / "r", {0: [[1] * 64] * 20})
    seen = set()
    for batch in Reader(records, 32).epoch():
        seen.add(batch.blocks["int16"].numpy().ctypes.data)
        del batch
    assert len(seen) <= 6  # of 40 batches


def test_an_epoch_may_be_left(small):
    epoch = Reader(small, 4).epoch()
    next(epoch)
    before = threading.active_count()
    epoch.close()
    assert threading.active_count() < before


def test_no_manifest(tmp_path):
    with pytest.raises(InputDataError, match="not made by Prebatch"):
        open_records("train", str(tmp_path), LAYOUT)


def test_a_copied_folder_is_the_same(small, tmp_path):
    shutil.copytree(small.folder, tmp_path / "copy")
    other = Records("train", str(tmp_path / "copy"), small.manifest, LAYOUT)
    assert read(other, 4, seed=1, shuffle=True) == read(small, 4, seed=1, shuffle=True)
