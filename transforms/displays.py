"""Joins ads shown with the displays they were shown in, and keeps to the log's rule: one event, one click a display."""

import numpy as np
import pyarrow as pa

from transforms.dimensions import drop_repeated
from transforms.parse import LINE, Reject

_CLICK_ROLES = {True: "clicks_train", False: "clicks_test"}


def join_displays(clicks: pa.Table, events: pa.Table, *, labelled: bool) -> tuple[pa.Table, list[Reject]]:
    """Gives every ad shown its display's event; a row is never multiplied.

    Bad rows are: a second row of the same display and ad, a second event of a display (the first in the file stays), and all ads
    of a display that has no event or, where labelled, not exactly one click.

    Args:
        clicks: `display_id`, `ad_id`, `LINE` and, where labelled, `clicked`.
        events: `display_id`, `LINE` and the event's columns, for these and possibly more displays.
        labelled: Whether the clicks are known.

    Returns:
        The good rows by display_id, then ad_id: all columns of both but `LINE`, and `ads_per_display`; and the bad rows.
    """
    role = _CLICK_ROLES[labelled]
    events, rejects = drop_repeated(events, ("display_id",), "events")
    clicks, repeated = drop_repeated(clicks, ("display_id", "ad_id"), role)
    rejects += repeated
    # Sorting by one integer costs a fraction of np.lexsort by two; ids are below 2^31.
    display_and_ad = (clicks["display_id"].to_numpy().astype(np.int64) << 32) + clicks["ad_id"].to_numpy()
    clicks = clicks.take(pa.array(np.argsort(display_and_ad)))
    display, first, ads = np.unique(clicks["display_id"].to_numpy(), return_index=True, return_counts=True)

    events = events.sort_by("display_id").combine_chunks()
    event_ids = events["display_id"].to_numpy()
    at = np.searchsorted(event_ids, display)
    has_event = np.zeros(len(display), bool)
    inside = at < len(event_ids)
    has_event[inside] = event_ids[at[inside]] == display[inside]
    good = has_event
    reason = np.where(has_event, "", "has no event").astype(object)
    if labelled and len(display):
        clicked = np.add.reduceat(clicks["clicked"].to_numpy(), first)
        good = has_event & (clicked == 1)
        for i in np.flatnonzero(has_event & (clicked != 1)).tolist():
            reason[i] = f"has {clicked[i]} clicks, not one"

    owner = np.repeat(np.arange(len(display)), ads)
    for i in np.flatnonzero(~good[owner]).tolist():
        rejects.append(Reject(role, clicks[LINE][i].as_py(), f"display_id {display[owner[i]]} {reason[owner[i]]}"))
    keep = good[owner]
    joined = clicks.filter(pa.array(keep)).drop_columns([LINE])
    owner = owner[keep]
    joined = joined.append_column("ads_per_display", pa.array(ads[owner], pa.int64()))
    picked = events.take(pa.array(at[owner]))
    for name in events.column_names:
        if name not in ("display_id", LINE):
            joined = joined.append_column(name, picked[name])
    return joined.combine_chunks(), rejects
