import pytest

from schemas.config import SplitConfig
from schemas.errors import InputDataError
from transforms import ingest_report
from transforms.parse import LINES_PER_FILE, Reject


def test_counts_of_one_name_are_added_up(tmp_path):
    path = str(tmp_path / "counts.json")
    ingest_report.write_counts([("b", 1), ("a", 2), ("b", 3)], path)
    assert ingest_report.read_counts(path) == {"a": 2, "b": 4}


def test_rejects_are_sorted_and_harmless_in_a_spreadsheet(tmp_path):
    path = str(tmp_path / "rejects.csv")
    rejects = [Reject("t", LINES_PER_FILE + 9, "late"), Reject("t", 2, "why, oh", "=1+1")]
    ingest_report.write_rejects(rejects, path, {"t": ("t/a.csv", "t/@b.csv")})
    assert (tmp_path / "rejects.csv").read_text() == (
        'table,file,line,reason,text\nt,t/a.csv,2,"why, oh",\'=1+1\nt,t/@b.csv,9,late,\n'
    )
    assert ingest_report.first_rejects(path) == {"t": "t/a.csv line 2: why, oh"}


@pytest.mark.parametrize(("bad", "allowed", "stops"), [(0, 0.0, False), (1, 0.0, True), (1, 0.01, False), (2, 0.01, True)])
def test_too_many_bad_rows_stop_the_run(bad, allowed, stops):
    counts = {"rows/events": 100, "bad/events": bad}
    if stops:
        with pytest.raises(
            InputDataError, match=rf"events: {bad} of 100 rows are bad .* the first is e.csv line 7: why; all are in r.csv"
        ):
            ingest_report.check_bad_rows(counts, {"events": "e.csv line 7: why"}, allowed, "r.csv")
    else:
        ingest_report.check_bad_rows(counts, {}, allowed, "r.csv")


def test_a_table_of_ads_that_lacks_too_many_stops_the_run():
    counts = {"examples/train": 60, "examples/eval": 30, "examples/neither": 10, "join_miss/promoted_content": 20}
    ingest_report.check_known_ads(counts, 0.2)
    message = (
        r"^promoted_content: lacks the ads of 20 of 100 rows \(20.00%; ingest.max_unknown_ads allows 19.00%\); is it the table"
    )
    with pytest.raises(InputDataError, match=message):
        ingest_report.check_known_ads(counts, 0.19)
    ingest_report.check_known_ads({}, 0.0)


def test_an_empty_split_stops_the_run_and_says_which_days_there_are():
    counts = {"displays/train": 5, "displays_on_day/0": 3, "displays_on_day/2": 2}
    with pytest.raises(
        InputDataError, match=r"eval split: split.eval_days is \[11, 12\].*of day 0 to 2; .*--set split.eval_fraction=0.2"
    ):
        ingest_report.check_splits(counts, SplitConfig())
