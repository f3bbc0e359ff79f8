"""A push or a rollback that is killed, starved of disk, or loses power."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from components.pusher import durable, versions
from components.pusher.manifest import content_digest
from components.pusher.versions import push, rollback
from schemas.errors import TransientError
from tests.components.test_pusher import make_model, names
from tests.faults.command import mounted

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture
def base(tmp_path):
    """A folder with one version, of another model."""
    folder = tmp_path / "serving"
    push(make_model(tmp_path / "old", b"old"), folder)
    return folder


@pytest.fixture
def in_memory():
    """A folder where a sync costs nothing, if there is one: hundreds of pushes are made in it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("what", ["push", "rollback"])
def test_sigkill_before_every_line(in_memory, model, tmp_path, what):
    """Whatever the line: all versions are whole, the old one is in service until the new one is there, and doing it again works."""
    base = in_memory / "serving"
    push(make_model(tmp_path / "old", b"old"), base)
    if what == "rollback":
        push(model, base)  # what it goes back from
        model, what = tmp_path / "old", str(min(versions.versions(base)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.components.kill_points", what, str(model), str(base)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert result["lines"] > 200
    assert 2 < result["appeared"] < 20  # kills after the version's rename, before the end


def test_sigkill_in_the_middle_of_a_copy(model, base, tmp_path):
    old = versions.current(base)
    script = textwrap.dedent(f"""
        import shutil, time
        from components.pusher import versions
        def stop(source, target):
            open(target, "w").write("half")
            open({str(tmp_path / "reached")!r}, "w").close()
            time.sleep(60)
        shutil.copyfile = stop
        versions.push({str(model)!r}, {str(base)!r})
    """)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "reached").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert versions.current(base) == old
    assert versions.versions(base) == [int(old.name)]
    version = push(model, base)
    assert names(base) == [".lock", old.name, str(version.number), "CURRENT"]
    assert content_digest(version.path) == content_digest(model)


@pytest.mark.parametrize("room_kib", [0, 4, 40, 120, 200, 240])
def test_a_disk_that_fills_up_keeps_the_old_version_in_service(tmp_path, room_kib):
    """A model of 256 KiB; the disk has less room than that, so that the push stops somewhere in between."""
    old = make_model(tmp_path / "old", b"o" * 1000)
    new = make_model(tmp_path / "new", b"n" * (256 << 10))
    disk = tmp_path / "disk"
    with mounted(disk, "size=600k"):
        before = push(old, disk / "serving")
        filler = disk / "filler"
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler.write_bytes(b"x" * (free - (room_kib << 10)))
        with pytest.raises(TransientError, match="No space left on device; nothing was pushed; free some space and run again"):
            push(new, disk / "serving")
        assert versions.current(disk / "serving") == before.path
        assert names(disk / "serving") == [".lock", str(before.number), "CURRENT"]
        filler.unlink()
        after = push(new, disk / "serving")
        assert versions.current(disk / "serving") == after.path
        assert content_digest(after.path) == content_digest(new)


def test_what_is_published_is_on_the_disk_first(model, base, monkeypatch):
    """The order of syncs and renames: each file and folder of the version, the pointer, the version's name, CURRENT's."""
    done = []
    fsync, rename, replace = os.fsync, os.rename, os.replace
    monkeypatch.setattr(durable.os, "fsync", lambda fd: (done.append(("sync", os.readlink(f"/proc/self/fd/{fd}"))), fsync(fd)))
    monkeypatch.setattr(versions.os, "rename", lambda a, b: (done.append(("rename", os.fspath(b))), rename(a, b)))
    monkeypatch.setattr(versions.os, "replace", lambda a, b: (done.append(("rename", os.fspath(b))), replace(a, b)))
    version = push(model, base)
    renamed = done.index(("rename", str(version.path)))
    temporary = next(name for what, name in done if "/.tmp-" in name).split("/.tmp-")[1].split("/")[0]
    synced = {name.partition(f"/.tmp-{temporary}")[2] for what, name in done[:renamed] if f"/.tmp-{temporary}" in name}
    there = {"/" + str(path.relative_to(version.path)) for path in version.path.rglob("*")}
    assert synced == there | {""}
    assert done[renamed - 1] == ("sync", str(base / ".tmp-CURRENT"))
    assert done[renamed:] == [
        ("rename", str(version.path)),
        ("sync", str(base)),
        ("rename", str(base / "CURRENT")),
        ("sync", str(base)),
    ]


def test_a_rollback_that_was_killed_at_its_last_step_is_not_done_twice(base, tmp_path):
    """Without a number, a second rollback would go back one more."""
    push(make_model(tmp_path / "b", b"b"), base)
    push(make_model(tmp_path / "c", b"c"), base)
    before = (base / "CURRENT").read_text()
    done = rollback(base)
    (base / "CURRENT").write_text(before)
    assert versions.current(base).name == before.strip()
    again = rollback(base)
    assert (again.number, again.reused) == (done.number, True)
    assert versions.current(base) == done.path
    assert rollback(base).number > done.number  # to the oldest


def test_a_source_that_changes_while_it_is_copied_is_not_pushed(model, base, monkeypatch):
    copyfile = durable.shutil.copyfile

    def change(source, target):
        copyfile(source, target)
        Path(target).write_bytes(b"another") if "variables.data" in str(target) else None

    monkeypatch.setattr(durable.shutil, "copyfile", change)
    old = versions.current(base)
    with pytest.raises(TransientError, match="changed while it was copied; nothing was pushed; run again"):
        push(model, base)
    assert versions.current(base) == old
    assert names(base) == [".lock", old.name, "CURRENT"]


def test_an_io_error_leaves_the_old_version(model, base, monkeypatch):
    old = versions.current(base)
    monkeypatch.setattr(durable.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        push(model, base)
    assert versions.current(base) == old
    assert names(base) == [".lock", old.name, "CURRENT"]
