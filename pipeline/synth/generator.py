"""The one entry point: generates a log and puts it in place in one step."""

import contextlib
import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.siblings import temporary_sibling
from pipeline.synth import aspects as aspects_
from pipeline.synth import clicks as clicks_
from pipeline.synth import displays as displays_
from pipeline.synth import page_views as page_views_
from pipeline.synth import world as world_
from pipeline.synth import write as write_
from pipeline.synth.clicks import Clicks
from pipeline.synth.displays import Displays
from pipeline.synth.parameters import Parameters, resolve
from pipeline.synth.write import Log
from schemas.errors import ConfigError
from schemas.tables import DAY_MS, OUTBRAIN

FORMAT = 1
"""Version of synth.json and of the bytes that a seed gives."""
MANIFEST = "synth.json"


def generate(
    out: Path,
    *,
    displays: int = 20_000,
    users: int | None = None,
    documents: int | None = None,
    ads: int | None = None,
    page_views: int | None = None,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Generates a click log in the format of the competition, with planted signals and a known best MAP@12.

    Writes the nine tables and `synth.json` into a folder beside `out` and renames it to `out`, so that `out` is complete or not
    there. Does nothing if `out` holds a log of the same parameters. The same parameters give the same bytes.

    Args:
        out: Folder to make; must not exist, or be empty. Missing parents are made.
        displays: Labelled displays, days 0 to 12; at least 15. The test set gets 37 % as many on top: the days 13 and 14, and
            about 15 % of each of the others. Display ids: labelled 1..D in time order, then test D+1.. in time order.
        users: Users, including the fifth that only reads.
        documents: Documents, including landing documents; at least 24.
        ads: Ads; at least 12.
        page_views: Rows of page_views, in no order.
        seed: Non-negative.
        progress: Is called with the stage just done and the share of the work done in (0, 1].

    Returns:
        The content of `synth.json`: `format`, `parameters` (with the sizes that were left open), `counts` (rows by table),
        `best_map_at_12` (expectation of ranking the labelled displays by the true click probabilities),
        `best_map_at_12_realised` (the same ranking on the drawn clicks), `best_map_at_12_without_topics` (expectation if the user's
        and the page's topics are unknown and everything else known), `random_map_at_12`, `by_day` (the same by day), and `signals`
        (variance of each planted signal within displays, as a share of their sum).

    Raises:
        ConfigError: An argument cannot work, or `out` holds something else.
        OSError: The disk is full or `out` cannot be written.
    """
    parameters = resolve(displays, users, documents, ads, page_views, seed)
    # A link is followed, so that the rename replaces the empty folder and not the link.
    out = out.resolve()
    present = _present(out, parameters)
    if present is not None:
        return present
    out.parent.mkdir(parents=True, exist_ok=True)
    report = progress or (lambda stage, share: None)
    with temporary_sibling(out, "synth") as folder:
        manifest = _fill(folder, parameters, report)
        try:
            os.rename(folder, out)
        except OSError as error:
            # Another run may have been faster.
            present = _present(out, parameters) if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) else None
            if present is None:
                raise
            manifest = present
    report("done", 1.0)
    return manifest


def _fill(folder: Path, parameters: Parameters, report: Callable[[str, float], None]) -> dict[str, Any]:
    # A stream of its own for each part: more page views, say, leave the clicks as they are.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(parameters.seed).spawn(5)]
    world = world_.build(parameters, streams[0])
    aspects = aspects_.build(world.documents, streams[1])
    report("world", 0.1)
    displays = displays_.build(parameters, world, streams[2])
    clicks = clicks_.build(world, displays, streams[3])
    report("clicks", 0.3)
    views = page_views_.build(parameters, world, displays, clicks.clicked, streams[4])
    report("page_views", 0.5)
    rest = iter(np.linspace(0.5, 1.0, len(OUTBRAIN.tables) + 2)[1:])
    log = Log(world, aspects, displays, clicks, views)
    counts = write_.write(folder, log, lambda role: report(f"{role} written", float(next(rest))))
    manifest = {"format": FORMAT, "parameters": asdict(parameters), "counts": counts, **_summary(displays, clicks)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _summary(displays: Displays, clicks: Clicks) -> dict[str, Any]:
    labelled = slice(0, displays.labelled)
    per_display = {
        "best_map_at_12": clicks_.average_precision(clicks.utility, clicks.probability, displays)[labelled],
        "best_map_at_12_realised": clicks_.average_precision(clicks.utility, clicks.clicked, displays)[labelled],
        "best_map_at_12_without_topics": clicks_.average_precision(clicks.without_topics, clicks.probability, displays)[labelled],
        "random_map_at_12": clicks_.random_average_precision(displays.sizes)[labelled],
    }
    day = displays.timestamp[labelled] // DAY_MS
    by_day = [
        {"day": int(d), "displays": int((day == d).sum()), **{name: float(ap[day == d].mean()) for name, ap in per_display.items()}}
        for d in np.unique(day)
    ]
    return {**{name: float(ap.mean()) for name, ap in per_display.items()}, "by_day": by_day, "signals": clicks.signals}


def _present(out: Path, parameters: Parameters) -> dict[str, Any] | None:
    """The manifest of a log of these parameters in `out`; None if `out` is free. Raises ConfigError if it holds something else."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise ConfigError(f"out must be a folder. Received: {out}")
    if not any(out.iterdir()):
        # The rename could not replace it.
        if os.path.ismount(out):
            raise ConfigError(f"out must not be a mount point, a folder below it will do. Received: {out}")
        return None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        manifest: dict[str, Any] = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        if manifest.get("format") == FORMAT and manifest.get("parameters") == asdict(parameters):
            return manifest
    raise ConfigError(f"out must be empty, or hold a log of the same parameters. Received: {out}")
