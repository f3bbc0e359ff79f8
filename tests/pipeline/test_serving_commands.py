"""`clickrank versions` and `clickrank rollback`."""

import json
import shutil

import pytest

from components.pusher import versions
from components.pusher.versions import push
from tests.components.test_pusher import make_model
from tests.faults.command import check_failed, check_good, clickrank


@pytest.fixture
def root(tmp_path):
    """A root with versions of two models, of which a run measured the first."""
    root = tmp_path / "root"
    for name in ("first", "second"):
        push(make_model(tmp_path / name, name.encode()), root / "serving")
    (root / "runs/1").mkdir(parents=True)
    (root / "runs/2").mkdir()
    first, _ = versions.versions(root / "serving")
    (root / "runs/1/summary.json").write_text(json.dumps({"pushed_version": first, "map_at_12": 0.61}))
    (root / "runs/2/summary.json").write_text("cut sh")
    return root


def test_versions_and_rollback(root):
    first, second = versions.versions(root / "serving")
    done = clickrank("versions", "--root", root)
    check_good(done)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(first), str(second)]
    assert "0.6100" in lines[0]
    assert lines[1].endswith("in service")

    done = clickrank("rollback", "--root", root, "--json")
    check_good(done)
    back = json.loads(done.stdout)
    assert (back["restores"], back["was"], back["reused"]) == (first, second, False)
    assert back["version"] > second

    done = clickrank("versions", "--root", root, "--json")
    check_good(done)
    listed = json.loads(done.stdout)["versions"]
    assert [v["current"] for v in listed] == [False, False, True]
    assert [v["map_at_12"] for v in listed] == [0.61, None, 0.61]
    assert listed[2]["digest"] == listed[0]["digest"] != listed[1]["digest"]
    assert (listed[2]["restores"], listed[2]["rolled_back_from"]) == (first, second)

    done = clickrank("rollback", "--root", root, "--to", first)
    check_good(done)
    assert done.stdout.startswith(f"Version {back['version']} is in service, nothing to do: ")
    done = clickrank("rollback", "--root", root, "--to", second)
    check_good(done)
    assert f"is in service: version {second} in place of {back['version']}: " in done.stdout


def test_what_is_damaged_is_said_and_not_put_back(root):
    first, second = versions.versions(root / "serving")
    shutil.rmtree(root / "serving" / str(first) / "variables")
    done = clickrank("versions", "--root", root)
    assert "DAMAGED: variables/variables.data-00000-of-00001 is missing" in done.stdout.splitlines()[0]
    check_failed(clickrank("rollback", "--root", root), 3, f"{first}: damaged, so it is not put back in service")
    assert versions.current(root / "serving").name == str(second)


def test_there_is_nothing_to_go_back_to(root, tmp_path):
    check_failed(
        clickrank("rollback", "--root", tmp_path / "empty"), 2, f"{tmp_path}/empty/serving: there is no version to go back to"
    )
    check_failed(clickrank("versions", "--root", tmp_path / "empty"), 2, "there is no version; if a run was given push.directory")
    assert not (tmp_path / "empty").exists()
    check_failed(clickrank("rollback", "--root", root, "--to", 5), 2, "there is no version 5; there are ")
    elsewhere = ["--set", f"push.directory={root / 'serving'}"]
    check_good(clickrank("versions", "--root", tmp_path / "empty", *elsewhere))
