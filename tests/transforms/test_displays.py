import pyarrow as pa

from schemas.tables import OUTBRAIN
from transforms.displays import join_displays
from transforms.parse import LINE, arrow_type


def table(role, rows):
    columns = OUTBRAIN.table(role).columns
    data = {c.name: pa.array([r[i] for r in rows], arrow_type(c)) for i, c in enumerate(columns)}
    return pa.table({**data, LINE: pa.array(range(2, len(rows) + 2), pa.int64())})


def event(display, timestamp=0):
    return (display, "u", 1, timestamp, 1, "US")


def reasons(rejects):
    return [(r.table, r.line, r.reason) for r in rejects]


def test_every_ad_gets_its_displays_event_and_the_number_of_ads():
    clicks = table("clicks_train", [(2, 5, 1), (1, 9, 0), (1, 8, 1), (2, 4, 0), (2, 6, 0)])
    rows, rejects = join_displays(clicks, table("events", [event(2, 20), event(1, 10), event(3, 30)]), labelled=True)
    assert rejects == []
    assert rows.select(["display_id", "ad_id", "clicked", "timestamp", "ads_per_display"]).to_pydict() == {
        "display_id": [1, 1, 2, 2, 2],
        "ad_id": [8, 9, 4, 5, 6],
        "clicked": [1, 0, 0, 1, 0],
        "timestamp": [10, 10, 20, 20, 20],
        "ads_per_display": [2, 2, 3, 3, 3],
    }


def test_displays_without_a_click_with_two_or_without_an_event_are_rejected_whole():
    clicks = table("clicks_train", [(1, 8, 0), (1, 9, 0), (2, 8, 1), (2, 9, 1), (3, 8, 1), (4, 8, 1)])
    rows, rejects = join_displays(clicks, table("events", [event(1), event(2), event(4)]), labelled=True)
    assert rows["display_id"].to_pylist() == [4]
    assert reasons(rejects) == [
        ("clicks_train", 2, "display_id 1 has 0 clicks, not one"),
        ("clicks_train", 3, "display_id 1 has 0 clicks, not one"),
        ("clicks_train", 4, "display_id 2 has 2 clicks, not one"),
        ("clicks_train", 5, "display_id 2 has 2 clicks, not one"),
        ("clicks_train", 6, "display_id 3 has no event"),
    ]


def test_of_repeated_rows_the_first_stays():
    clicks = table("clicks_train", [(1, 8, 1), (1, 9, 0), (1, 8, 0)])
    rows, rejects = join_displays(clicks, table("events", [event(1, 10), event(1, 99)]), labelled=True)
    assert rows["clicked"].to_pylist() == [1, 0]
    assert rows["timestamp"].to_pylist() == [10, 10]
    assert reasons(rejects) == [("events", 3, "repeats display_id 1"), ("clicks_train", 4, "repeats display_id 1 ad_id 8")]


def test_test_displays_need_no_click():
    rows, rejects = join_displays(table("clicks_test", [(1, 8), (1, 9)]), table("events", [event(1)]), labelled=False)
    assert rejects == []
    assert rows.num_rows == 2


def test_nothing_to_join():
    rows, rejects = join_displays(table("clicks_train", []), table("events", []), labelled=True)
    assert (rows.num_rows, rejects) == (0, [])
