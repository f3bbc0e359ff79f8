import itertools
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.trainer.input import find_files, parse_spec, read_batches
from schemas import features
from schemas.errors import ConfigError, InputDataError
from tests.components.conftest import ENCODING


@pytest.fixture(scope="module")
def spec(transformed):
    return parse_spec(tft.TFTransformOutput(str(transformed / "tft")), features.model_inputs(**ENCODING))


@pytest.fixture(scope="module")
def files(transformed):
    return find_files("eval", [str(transformed / "eval" / "*")])


def rows(batch):
    """The real rows of a batch, as a list of tuples."""
    keep = batch.weight.numpy() > 0
    columns = [batch.label.numpy(), *(batch.features[name].numpy() for name in sorted(batch.features))]
    return [tuple(float(value) for c in columns for value in np.ravel(c[i])) for i in np.flatnonzero(keep)]


def read(files, spec, size, **more):
    return [(rows(b), int(b.rows), b) for b in read_batches(files, spec, size, **more)]


def test_two_files(files):
    assert len(files) == 2


@pytest.mark.parametrize("shards", [2, 3])
@pytest.mark.parametrize("seed", [None, 5])
def test_workers_share_the_batches_of_one_worker(files, spec, shards, seed):
    whole = read(files, spec, 100, shuffle_seed=seed)
    parts = [read(files, spec, 100, shard=s, shards=shards, shuffle_seed=seed) for s in range(shards)]
    assert {len(p) for p in parts} == {len(whole)}
    for step, (expected, count, _) in enumerate(whole):
        got = [part[step][0] for part in parts]
        assert sorted(itertools.chain(*got)) == sorted(expected)
        assert {part[step][1] for part in parts} == {count} == {len(expected)}


def test_every_row_once(files, spec):
    one_batch = read(files, spec, 1_000_000)
    assert len(one_batch) == 1
    by_ten = read(files, spec, 10, shuffle_seed=1)
    assert sorted(itertools.chain(*(r for r, _, _ in by_ten))) == sorted(one_batch[0][0])


def test_all_parts_have_one_size_even_without_rows(files, spec):
    count = len(read(files, spec, 1_000_000)[0][0])
    size = count - 1  # the last batch has one row: the second worker gets none of it
    (_, _, first), (last_rows, last_count, last) = read(files, spec, size, shard=1, shards=2)
    assert (last_rows, last_count) == ([], 1)
    assert first.label.shape == last.label.shape == (-(-size // 2),)
    assert not last.weight.numpy().any()


def test_shuffling_depends_on_the_seed_alone(files, spec):
    first, again, other, plain = (read(files, spec, 50, shuffle_seed=s)[0][0] for s in (1, 1, 2, None))
    assert first == again
    assert first != other
    assert first != plain


def test_no_file(tmp_path):
    with pytest.raises(InputDataError, match="no file of the train split"):
        find_files("train", [str(tmp_path / "*")])


def test_no_row(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "empty.gz"), "GZIP"):
        pass
    with pytest.raises(InputDataError, match="the eval split has no rows"):
        find_files("eval", [str(tmp_path / "*")])


def test_no_label(tmp_path, transformed, spec):
    record = next(iter(tf.data.TFRecordDataset(find_files("eval", [str(transformed / "eval/*")]), "GZIP")))
    example = tf.train.Example.FromString(record.numpy())
    example.features.feature["label"].int64_list.value[:] = [-1]
    with tf.io.TFRecordWriter(str(tmp_path / "a.gz"), "GZIP") as writer:
        writer.write(example.SerializeToString())
    with pytest.raises(tf.errors.InvalidArgumentError, match="has no label"):
        list(read_batches([str(tmp_path / "a.gz")], spec, 4))


def test_another_encoding_is_a_config_error(transformed):
    with pytest.raises(ConfigError, match="doc_id"):
        parse_spec(tft.TFTransformOutput(str(transformed / "tft")), features.model_inputs())


def test_truncated_file_is_found(tmp_path, files, spec):
    path = tmp_path / "cut.gz"
    shutil.copy(files[0], path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(tf.errors.DataLossError):
        list(read_batches([str(path)], spec, 64))
