"""What nodes take is noted while they work, also of those that fail."""

import json
import subprocess
import sys
import time

import pytest

from pipeline.usage import UsageRecorder, cpu_seconds, read_usage
from schemas.errors import InputDataError


class Told:
    """A watcher that remembers what it was told."""

    def __init__(self):
        self.calls = []

    def started(self, node_id):
        self.calls.append(("started", node_id))

    def finished(self, node_id, seconds, cached):
        self.calls.append(("finished", node_id, cached))

    def failed(self, node_id, seconds, error):
        self.calls.append(("failed", node_id, str(error)))


def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_time_cpu_and_memory_of_each_node(tmp_path):
    path, told = tmp_path / "nodes.json", Told()
    recorder = UsageRecorder(path, told)
    recorder.started("Works")
    held = bytearray(200 << 20)
    work(0.3)
    time.sleep(0.3)  # so that it is looked at
    del held
    recorder.finished("Works", 0.6, False)
    recorder.started("Cached")
    recorder.finished("Cached", 0.01, True)
    works, cached = read_usage(path)
    assert (works.node, works.state, works.seconds) == ("Works", "finished", 0.6)
    assert 0.3 <= works.cpu_seconds < 2
    assert works.peak_rss_bytes > 200 << 20
    assert (cached.state, cached.seconds) == ("cached", 0.01)
    assert cached.cpu_seconds < 0.3
    assert told.calls == [("started", "Works"), ("finished", "Works", False), ("started", "Cached"), ("finished", "Cached", True)]


def test_a_child_process_counts_while_it_lives_and_after(tmp_path):
    before = cpu_seconds()
    code = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        living = cpu_seconds() - before
        child.communicate(b"\n")
    assert living >= 0.4
    assert cpu_seconds() - before >= 0.4


def test_a_node_that_fails_says_why_and_one_that_was_killed_is_still_running(tmp_path):
    path, told = tmp_path / "nodes.json", Told()
    recorder = UsageRecorder(path, told)
    recorder.started("Bad")
    recorder.failed("Bad", 1.0, InputDataError("clicks_train is empty"))
    recorder.started("Odd")
    recorder.failed("Odd", 1.0, ValueError("first line\nsecond line"))
    recorder.started("Killed")
    bad, odd, killed = read_usage(path)
    assert (bad.state, bad.error) == ("failed", "clicks_train is empty")
    assert odd.error == "ValueError: first line"
    assert (killed.state, killed.seconds) == ("running", 0.0)
    recorder.finished("Killed", 1.0, False)  # ends the thread


def test_a_folder_that_is_gone_does_not_stop_the_nodes(tmp_path, caplog):
    told = Told()
    recorder = UsageRecorder(tmp_path / "gone" / "nodes.json", told)
    recorder.started("A")
    recorder.finished("A", 1.0, False)
    assert told.calls[-1] == ("finished", "A", False)
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("text", ["", "{", "3", "[3]", '[{"node": "A"}]', '[{"name": "A", "state": "finished"}]', '{"a": 1}'])
def test_a_damaged_file_is_an_error_that_is_foreseen(tmp_path, text):
    (tmp_path / "nodes.json").write_text(text)
    with pytest.raises(ValueError, match=r"nodes\.json|Expecting"):
        read_usage(tmp_path / "nodes.json")


def test_the_file_is_a_list_in_the_order_of_the_nodes(tmp_path):
    recorder = UsageRecorder(tmp_path / "nodes.json", Told())
    for node in ("B", "A"):
        recorder.started(node)
        recorder.finished(node, 1.0, False)
    assert [record["node"] for record in json.loads((tmp_path / "nodes.json").read_text())] == ["B", "A"]
