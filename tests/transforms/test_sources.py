import gzip
import random

import pytest

from schemas.errors import InputDataError
from schemas.tables import OUTBRAIN
from tests.tables import CLICKS, write_log, write_table
from transforms.sources import find_sources, missing_features
from transforms.text import open_text


def test_finds_all_tables_that_are_there_and_says_what_is_missing_without_the_others(tmp_path):
    sources = find_sources(str(write_log(tmp_path, documents=False)), OUTBRAIN)
    assert set(sources) == {"clicks_train", "events", "promoted_content"}
    assert "pop_source_id" in missing_features(sources)["documents_meta"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zip"])
def test_reads_the_header_of_plain_and_compressed_files(tmp_path, suffix):
    assert find_sources(str(write_log(tmp_path, suffix)), OUTBRAIN)["events"].files[0].header[0] == "display_id"


@pytest.mark.parametrize(
    ("header", "roles"),
    [
        ("clicked,display_id,ad_id", ("clicked", "display_id", "ad_id")),
        ("display_id,extra,ad_id,clicked", ("display_id", "", "ad_id", "clicked")),
        ("\ufeffdisplay_id,ad_id,clicked\r", ("display_id", "ad_id", "clicked")),
    ],
)
def test_columns_are_found_by_name_whatever_their_order_bom_or_line_end(tmp_path, header, roles):
    write_log(tmp_path)
    write_table(tmp_path, "clicks_train", CLICKS, header=header)
    assert find_sources(str(tmp_path), OUTBRAIN)["clicks_train"].files[0].header == roles


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: (d / "events.csv").unlink(),
            "required table events is missing; expected events.csv or events.csv.gz or events.csv.zip, or a folder of them",
        ),
        (lambda d: (d / "events.csv").write_bytes(b""), "events.csv: the file is empty"),
        (
            lambda d: (d / "events.csv").write_bytes(b"display_id,uuid\n1,a\n"),
            "events.csv line 1: the header lacks column 'document_id'",
        ),
        (
            lambda d: (d / "clicks_train.csv").write_bytes(b"display_id,ad_id,ad_id,clicked\n"),
            "line 1: the header repeats column 'ad_id'",
        ),
        (lambda d: write_table(d, "events", [], ".csv.gz"), "table events is there 2 times: events.csv, events.csv.gz"),
        (lambda d: [f.unlink() for f in d.iterdir()], "no such folder, or an empty one"),
    ],
)
def test_an_unusable_folder_is_refused_before_any_work(tmp_path, damage, message):
    damage(write_log(tmp_path))
    with pytest.raises(InputDataError, match="(?s).*" + __import__("re").escape(message)):
        find_sources(str(tmp_path), OUTBRAIN)


def test_a_truncated_gzip_is_never_a_short_read(tmp_path):
    text = b"display_id,ad_id,clicked\n" + b"".join(b"%d,%d,0\n" % (i, random.Random(i).getrandbits(30)) for i in range(20_000))
    path = tmp_path / "clicks_train.csv.gz"
    path.write_bytes(gzip.compress(text)[:-5000])
    with (
        pytest.raises(InputDataError, match=r"clicks_train.csv.gz: damaged or cut short near byte \d+"),
        open_text(str(path)) as file,
    ):
        file.read()


def test_a_zip_with_two_members_is_refused(tmp_path):
    import zipfile

    path = tmp_path / "events.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(InputDataError, match=r"expected one file in the archive. Received: 2"), open_text(str(path)):
        pass


def test_a_file_that_is_not_gzip_is_refused(tmp_path):
    write_log(tmp_path)
    (tmp_path / "events.csv").unlink()
    (tmp_path / "events.csv.gz").write_bytes(b"display_id,uuid,document_id,timestamp,platform,geo_location\n")
    with pytest.raises(InputDataError, match=r"events.csv.gz: damaged or cut short"):
        find_sources(str(tmp_path), OUTBRAIN)
