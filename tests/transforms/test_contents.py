import hashlib
import os

from schemas.tables import OUTBRAIN
from tests.tables import write_log, write_part, write_table
from transforms.contents import find_changes, fingerprint, read_contents
from transforms.sources import find_sources


def sources(folder):
    return find_sources(str(folder), OUTBRAIN)


def test_every_file_has_its_size_and_digest(tmp_path):
    write_log(tmp_path)
    found = read_contents(sources(tmp_path))
    assert [content.name for content in found] == ["clicks_train.csv", "documents_meta.csv", "events.csv", "promoted_content.csv"]
    data = (tmp_path / "clicks_train.csv").read_bytes()
    assert (found[0].size_bytes, found[0].sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_log_that_was_only_touched_has_not_changed(tmp_path):
    write_log(tmp_path)
    then = read_contents(sources(tmp_path))
    os.utime(tmp_path / "events.csv", (1, 1))
    assert list(find_changes(sources(tmp_path), then)) == []


def test_each_change_is_told_by_file(tmp_path):
    write_log(tmp_path)
    write_part(tmp_path, "page_views", "a.csv", [("u", 1, 2, 1, "US", 1)])
    write_part(tmp_path, "page_views", "b.csv", [("u", 1, 3, 1, "US", 1)])
    then = read_contents(sources(tmp_path))
    (tmp_path / "page_views" / "b.csv").unlink()
    write_table(tmp_path, "documents_topics", [(100, 1, 0.5)])
    with (tmp_path / "events.csv").open("a") as file:
        file.write("4,x,100,4000,1,US\n")
    clicks = tmp_path / "clicks_train.csv"
    clicks.write_bytes(clicks.read_bytes().replace(b"1,10,1", b"1,10,0"))
    size = (tmp_path / "events.csv").stat().st_size
    assert list(find_changes(sources(tmp_path), then)) == [
        "page_views/b.csv is gone",
        "documents_topics.csv is new",
        f"events.csv has {size} bytes, and had {size - 18}",
        "clicks_train.csv has other content of the same size",
    ]


def test_what_was_read_before_is_read_again_only_if_its_time_stamp_says_so(tmp_path):
    write_log(tmp_path)
    then = read_contents(sources(tmp_path))
    clicks = tmp_path / "clicks_train.csv"
    stamp = clicks.stat().st_mtime_ns
    clicks.write_bytes(clicks.read_bytes().replace(b"1,10,1", b"1,10,0"))
    os.utime(clicks, ns=(stamp, stamp))
    assert read_contents(sources(tmp_path), then) == then
    os.utime(clicks, (stamp / 1e9 + 9, stamp / 1e9 + 9))
    assert read_contents(sources(tmp_path), then)[0].sha256 != then[0].sha256


def test_the_fingerprint_is_of_names_and_bytes_to_the_last(tmp_path):
    def now():
        return fingerprint(read_contents(sources(tmp_path)))

    write_log(tmp_path)
    seen = [now()]
    os.utime(tmp_path / "events.csv", (1, 1))
    assert now() == seen[0]
    clicks = tmp_path / "clicks_train.csv"
    clicks.write_bytes(clicks.read_bytes().replace(b"1,10,1", b"1,10,0"))
    seen.append(now())
    (tmp_path / "clicks_train").mkdir()
    clicks.rename(tmp_path / "clicks_train/part.csv")
    seen.append(now())
    assert len(set(seen)) == 3
