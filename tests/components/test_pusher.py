import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from components.pusher import durable, versions
from components.pusher.manifest import MANIFEST, content_digest
from components.pusher.versions import push, rollback
from schemas.errors import ConfigError, InputDataError, TransientError


def make_model(folder, weights=b"weights", fingerprint=b"1"):
    files = {
        "saved_model.pb": b"graph",
        "fingerprint.pb": fingerprint,
        "variables/variables.index": b"index",
        "variables/variables.data-00000-of-00001": weights,
        "assets/vocabulary": b"a\nb\n",
    }
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Path(folder)


def names(base):
    return sorted(path.name for path in Path(base).iterdir())


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture
def base(tmp_path):
    return tmp_path / "serving"


def test_of_a_model_that_an_older_version_holds_only_a_push_of_new_ones_stays_out(model, base, tmp_path):
    first = push(model, base)
    newer = push(make_model(tmp_path / "other", b"other"), base)
    again = push(model, base, only_new=True)
    assert (again.number, again.reused) == (first.number, True)
    assert versions.current(base) == newer.path
    assert not push(make_model(tmp_path / "third", b"third"), base, only_new=True).reused
    assert push(model, base).number > newer.number


def test_first_push(model, base):
    version = push(model, base)
    assert version.number >= int(time.time()) - 10
    assert not version.reused
    assert names(base) == [".lock", str(version.number), "CURRENT"]
    assert (base / "CURRENT").read_text() == f"{version.number}\n"
    for path in model.rglob("*"):
        if path.is_file():
            assert (version.path / path.relative_to(model)).read_bytes() == path.read_bytes()
    manifest = json.loads((version.path / MANIFEST).read_text())
    assert (manifest["version"], manifest["digest"]) == (version.number, content_digest(model))
    assert (manifest["restores"], manifest["rolled_back_from"], manifest["source"]) == (None, None, str(model))
    files = {str(p.relative_to(model)): p.read_bytes() for p in model.rglob("*") if p.is_file()}
    assert manifest["files"] == {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items()}
    lines = "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in sorted(files.items()) if n != "fingerprint.pb")
    assert version.digest == hashlib.sha256(lines.encode()).hexdigest()


def test_the_same_model_is_pushed_once(model, base, tmp_path):
    first = push(model, base)
    again = push(make_model(tmp_path / "copy", fingerprint=b"another UUID"), base)
    assert again.reused
    assert (again.number, again.path, again.digest) == (first.number, first.path, first.digest)
    assert versions.versions(base) == [first.number]


def test_a_model_that_was_damaged_after_its_push_is_pushed_again(model, base):
    first = push(model, base)
    (first.path / "variables/variables.index").write_bytes(b"")
    assert push(model, base).number == first.number + 1


def test_going_back_to_an_older_model_is_a_new_version(model, base, tmp_path):
    first, second = push(model, base), push(make_model(tmp_path / "other", b"other"), base)
    third = push(model, base)
    assert not third.reused
    assert third.number > second.number > first.number


def test_versions_strictly_increase_whatever_the_clock_says(model, base):
    (base / "99999999999").mkdir(parents=True)
    (base / "not a number").mkdir()
    (base / "-5").mkdir()
    (base / "099999999998").mkdir()
    assert push(model, base).number == 100_000_000_000


def test_leftovers_of_killed_pushes_are_swept(model, base):
    make_model(base / ".tmp-17-1", b"half")
    version = push(model, base)
    assert names(base) == [".lock", str(version.number), "CURRENT"]
    make_model(base / ".tmp-18-1", b"half")
    (base / ".tmp-CURRENT").write_text("1")
    assert push(model, base).reused
    assert names(base) == [".lock", str(version.number), "CURRENT"]


def test_digest_tells_names_from_contents(tmp_path):
    digests = set()
    for i, files in enumerate(({"ab": "c"}, {"a": "bc"}, {"a": "b", "c": ""}, {"a/b": "c"}, {"a": "b"})):
        for name, content in files.items():
            path = tmp_path / str(i) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        digests.add(content_digest(tmp_path / str(i)))
    assert len(digests) == 5


def test_no_saved_model(tmp_path, base):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputDataError, match=r"empty: not a SavedModel"):
        push(tmp_path / "empty", base)
    assert not base.exists()


@pytest.mark.parametrize("remote", ["gs://bucket/serving", "s3://bucket/serving"])
def test_remote_folders_are_refused(model, remote):
    with pytest.raises(ConfigError, match="local or mounted"):
        push(model, remote)


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, TransientError), (errno.EDQUOT, TransientError), (errno.EACCES, ConfigError), (errno.EROFS, ConfigError)],
)
def test_failing_disks(model, base, monkeypatch, number, error):
    copyfile = shutil.copyfile

    def fail(source, target):
        if "variables.data" in str(target):
            Path(target).write_bytes(b"hal")
            raise OSError(number, os.strerror(number), str(target))
        copyfile(source, target)

    monkeypatch.setattr(durable.shutil, "copyfile", fail)
    with pytest.raises(error, match=rf"{base}.*variables.data.*{os.strerror(number)}; nothing was pushed") as raised:
        push(model, base)
    assert "\n" not in str(raised.value)
    assert names(base) == [".lock"]
    monkeypatch.undo()
    assert not push(model, base).reused


def test_other_errors_pass_and_leave_nothing(model, base, monkeypatch):
    monkeypatch.setattr(versions, "sync_tree", lambda folder: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        push(model, base)
    assert names(base) == [".lock"]


def test_base_is_a_file(model, base):
    base.write_text("")
    with pytest.raises(ConfigError, match=f"{base}: File exists"):
        push(model, base)


def _push_many(models, base, queue):
    queue.put([(v.number, v.reused) for v in (push(model, base) for model in models)])


def test_concurrent_pushers(base, tmp_path):
    """Three processes push eight models each; a watcher never sees a version without all of its files."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    models = [[make_model(tmp_path / f"{i}-{j}", f"{i} {j}".encode() * 50_000) for j in range(8)] for i in range(3)]
    processes = [context.Process(target=_push_many, args=(group, base, queue)) for group in models]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes) and queue.qsize() < 3:
        for number in versions.versions(base):
            assert len([p for p in (base / str(number)).rglob("*") if p.is_file()]) == 6
        time.sleep(0.005)
    results = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    numbers = [number for result in results for number, _ in result]
    assert len(set(numbers)) == 24
    assert sorted(numbers) == versions.versions(base)
    assert all(result == sorted(result) for result in results)
    assert versions.current(base).name == str(max(numbers))
    pushed = {content_digest(base / str(number)) for number in numbers}
    assert pushed == {content_digest(model) for group in models for model in group}


def test_concurrent_pushers_of_the_same_model(model, base):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_push_many, args=([model], base, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=60)[0] for _ in processes]
    for process in processes:
        process.join(60)
    assert sorted(reused for _, reused in results) == [False, True, True]
    assert len({number for number, _ in results}) == 1


@pytest.fixture
def run_executor(model, base, tmp_path):
    """Runs the Pusher's executor; returns the PushedModel artifact."""
    from tfx.proto import pusher_pb2
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    from components.pusher.executor import Executor

    def artifact(type_, uri):
        made = type_()
        made.uri = str(uri)
        return made

    def run(blessed, infra=None):
        trained = artifact(standard_artifacts.Model, tmp_path / "trained")
        shutil.copytree(model, tmp_path / "trained/Format-Serving", dirs_exist_ok=True)
        blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
        if blessed is not None:
            blessing.set_int_custom_property("blessed", blessed)
        served = artifact(standard_artifacts.InfraBlessing, tmp_path / "infra")
        if infra is not None:
            served.set_int_custom_property("blessed", infra)
        pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
        destination = pusher_pb2.PushDestination(filesystem={"base_directory": str(base)})
        Executor().Do(
            {"model": [trained]}
            | ({"model_blessing": [blessing]} if blessed is not None else {})
            | ({"infra_blessing": [served]} if infra is not None else {}),
            {"pushed_model": [pushed]},
            {"push_destination": proto_utils.proto_to_json(destination)},
        )
        return pushed

    return run


def test_executor_pushes_a_blessed_model(run_executor, base):
    pushed = run_executor(1)
    (number,) = versions.versions(base)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_destination") == str(base / str(number))
    assert pushed.get_string_custom_property("pushed_version") == str(number)
    record = json.loads(Path(pushed.uri, "push.json").read_text())
    assert (record["pushed"], record["version"], record["reused"]) == (True, number, False)
    again = run_executor(1)
    assert again.get_string_custom_property("pushed_version") == str(number)
    assert json.loads(Path(again.uri, "push.json").read_text())["reused"] is True


@pytest.mark.parametrize(("blessed", "infra"), [(0, None), (None, None), (0, 1), (1, 0), (None, 1)])
def test_executor_skips_a_model_that_is_not_blessed(run_executor, base, blessed, infra):
    pushed = run_executor(blessed, infra)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_version")
    assert not base.exists()
    assert json.loads(Path(pushed.uri, "push.json").read_text()) == {"pushed": False}


def test_executor_says_why_a_model_that_was_rolled_back_stays_out(run_executor, base, tmp_path):
    push(make_model(tmp_path / "older", b"older"), base)
    taken = json.loads(Path(run_executor(1, 1).uri, "push.json").read_text())["version"]
    back = rollback(base)
    pushed = run_executor(1, 1)
    assert pushed.get_int_custom_property("pushed") == 0
    record = json.loads(Path(pushed.uri, "push.json").read_text())
    assert record["pushed"] is False
    assert record["why"].startswith(f"this model is version {taken}, which was rolled back; ")
    assert versions.current(base) == back.path


def test_a_pushed_saved_model_loads(base, tmp_path):
    import tensorflow as tf

    from tests.components.saved_models import save_scorer

    first = push(save_scorer(tmp_path / "real", weight=2.0), base)
    loaded = tf.saved_model.load(str(first.path))
    example = tf.train.Example(features={"feature": {"pop_ad_id": {"float_list": {"value": [0.25]}}}}).SerializeToString()
    score = loaded.signatures["serving_default"](examples=tf.constant([example]))["score"].numpy()
    assert score == pytest.approx(1 / (1 + 2.718281828**-0.5), rel=1e-6)
    assert push(save_scorer(tmp_path / "other", weight=3.0), base).number > first.number
