"""Tables that can be seen to be unusable before any work: one line, exit 3, and nothing is made."""

import re
import struct

import pytest

from schemas.errors import InputDataError
from schemas.tables import OUTBRAIN
from tests.faults.command import check_failed, clickrank, mounted
from tests.faults.damage import READ_TABLES, compress, cut, write_big_log
from tests.tables import write_log, write_table
from transforms.sources import find_sources

REQUIRED = ("clicks_train", "events", "promoted_content")


def _cut_in_header(folder):
    file = compress(folder, "events", ".csv.gz")
    file.write_bytes(file.read_bytes()[:14])


def _no_column(folder):
    table = OUTBRAIN.table("promoted_content")
    write_table(folder, "promoted_content", [(1, 2, 3)], header=",".join(c.header for c in table.columns[:-1]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut_in_header, r"events\.csv\.gz: damaged or cut short near byte \d+: "),
        (
            lambda f: cut(compress(f, "clicks_train", ".csv.zip"), 0.5),
            r"clicks_train\.csv\.zip: damaged or cut short near byte \d+: ",
        ),
        (lambda f: write_table(f, "events", []), r"events\.csv: the file has a header but no row; table events is required"),
        (lambda f: (f / "documents_meta.csv").write_bytes(b""), r"documents_meta\.csv: the file is empty; expected a header line"),
        (lambda f: (f / "clicks_train.csv").unlink(), r"required table clicks_train is missing; expected clicks_train\.csv or "),
        (_no_column, r"promoted_content\.csv line 1: the header lacks column 'advertiser_id'\. Received: ad_id,document_id"),
    ],
    ids=["gz-cut-in-header", "zip-cut", "no-row", "zero-bytes", "no-table", "no-column"],
)
def test_the_command_line_names_the_file_and_makes_nothing(tmp_path, damage, message):
    folder = write_big_log(tmp_path / "log")
    damage(folder)
    error = check_failed(clickrank("run", folder, "--root", tmp_path / "root"), 3, str(folder))
    assert re.search(message, error)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("role", READ_TABLES)
@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zip"])
@pytest.mark.parametrize("size", [0, 1, 11, 25])
def test_a_file_cut_within_its_first_bytes_is_never_taken_for_a_short_table(tmp_path, role, suffix, size):
    file = compress(write_big_log(tmp_path), role, suffix)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputDataError, match=re.escape(file.name)):
        find_sources(str(tmp_path), OUTBRAIN)


@pytest.mark.parametrize("role", READ_TABLES)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zip"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_required_table_needs_a_row_another_does_not(tmp_path, role, suffix, end):
    write_log(tmp_path)
    file = write_table(tmp_path, role, [])
    file.write_text(file.read_text().splitlines()[0] + end)
    if suffix != ".csv":
        file = compress(tmp_path, role, suffix)
    if role in REQUIRED:
        with pytest.raises(
            InputDataError, match=re.escape(f"{file.name}: the file has a header but no row; table {role} is required")
        ):
            find_sources(str(tmp_path), OUTBRAIN)
    else:
        assert find_sources(str(tmp_path), OUTBRAIN)[role].files[0].header


def test_a_zip_with_an_encrypted_member_is_refused(tmp_path):
    file = compress(write_big_log(tmp_path), "events", ".csv.zip")
    data = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags, in both headers of the member
        at = data.index(signature) + offset
        struct.pack_into("<H", data, at, struct.unpack_from("<H", data, at)[0] | 1)
    file.write_bytes(data)
    with pytest.raises(InputDataError, match=r"events\.csv\.zip: "):
        find_sources(str(tmp_path), OUTBRAIN)


def test_a_folder_whose_name_is_a_pattern_is_that_folder(tmp_path):
    folder = write_log(tmp_path / "lo[g] é *?")
    write_log(tmp_path / "log")
    sources = find_sources(str(folder), OUTBRAIN)
    assert sources["events"].files[0].path == str(folder / "events.csv")


def test_a_root_whose_name_is_a_pattern_is_refused_for_tfx_would_match_it(tmp_path):
    done = clickrank("run", write_log(tmp_path / "log"), "--root", tmp_path / "r[1]")
    check_failed(done, 2, "--root: its path must be free of * ? [ and ]", "Received: ")
    assert not (tmp_path / "r[1]").exists()


def test_predict_into_a_read_only_folder_is_refused(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").touch()
    with mounted(tmp_path / "disk", "ro"):
        out = tmp_path / "disk" / "scores.csv"
        done = clickrank("predict", tmp_path / "model", write_log(tmp_path / "log"), out)
        check_failed(done, 2, f"{out}: cannot be written: Read-only file system")
