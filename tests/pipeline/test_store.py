"""Artifacts that were deleted, all or in part, since the run that made them."""

import shutil

import pytest
from ml_metadata.proto import metadata_store_pb2

from pipeline.connection import open_store
from pipeline.paths import RootPaths
from pipeline.store import remember_sizes, tidy

LIVE, DELETED = metadata_store_pb2.Artifact.LIVE, metadata_store_pb2.Artifact.DELETED


@pytest.fixture
def paths(tmp_path):
    return RootPaths(tmp_path)


@pytest.fixture
def store(paths):
    """A store with a model and a blessing, each with a folder; the blessing's is empty."""
    store = open_store(paths)
    artifacts = []
    for name in ("Model", "ModelBlessing"):
        type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name=name))
        folder = paths.artifacts / name / "1"
        folder.mkdir(parents=True)
        artifacts.append(metadata_store_pb2.Artifact(type_id=type_id, uri=str(folder), state=LIVE))
    for name, content in (("graph", b"graph"), ("variables/data", b"1" * 1000)):
        file = paths.artifacts / "Model/1" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    store.put_artifacts(artifacts)
    return store


def states(store):
    return [artifact.state for artifact in store.get_artifacts()]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda model: shutil.rmtree(model / "variables"), "has 1 of its 2 files; it is made anew if it is needed"),
        (lambda model: (model / "variables/data").write_bytes(b"1" * 500), "has 505 of its 1,005 bytes; it is made anew"),
        (shutil.rmtree, "is gone; it is made anew"),
    ],
    ids=["half deleted", "cut", "gone"],
)
def test_what_lost_some_of_its_files_is_struck_out(store, paths, caplog, harm, message):
    remember_sizes(store, paths)
    tidy(store, paths)
    assert states(store) == [LIVE, LIVE]
    harm(paths.artifacts / "Model/1")
    remember_sizes(store, paths)  # of a run in between: what was noted first counts
    tidy(store, paths)
    assert states(store) == [DELETED, LIVE]
    assert f"{paths.artifacts}/Model/1 {message}" in caplog.text


def test_what_grew_or_was_never_noted_stays(store, paths):
    (paths.artifacts / "Model/1/variables/data").write_bytes(b"")
    tidy(store, paths)
    assert states(store) == [LIVE, LIVE]
    remember_sizes(store, paths)
    (paths.artifacts / "Model/1/events").write_bytes(b"more")
    tidy(store, paths)
    assert states(store) == [LIVE, LIVE]
    paths.sizes.write_text("cut sh")
    tidy(store, paths)
    assert states(store) == [LIVE, LIVE]
