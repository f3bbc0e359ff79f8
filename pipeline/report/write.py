"""Makes the report of a run and puts it into the run's folder."""

import difflib
from pathlib import Path

from pipeline.console import RunConsole
from pipeline.noise import log_to
from pipeline.paths import RootPaths
from pipeline.siblings import file_errors, write_whole
from schemas import progress
from schemas.errors import ConfigError


def choose_run(paths: RootPaths, run_id: str | None, asked_by: str = "--run") -> str:
    """Returns the id of the run that is asked for, or of the latest.

    Args:
        paths: The root.
        run_id: The run, or None.
        asked_by: What the user calls the id on the command line.

    Raises:
        ConfigError: There is no such run, or none at all.
    """
    runs = sorted(folder.name for folder in paths.runs.glob("*/") if (folder / "config.resolved.yaml").exists())
    if not runs:
        raise ConfigError(f"--root {paths.root}: no run has been here; `clickrank run` makes one")
    if run_id is None:
        return runs[-1]
    if run_id not in runs:
        near = difflib.get_close_matches(run_id, runs, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"the latest is {runs[-1]}."
        raise ConfigError(f"{asked_by}: no such run; {hint} Received: {run_id}")
    return run_id


def report(root: Path, run_id: str | None, *, verbose: bool) -> Path:
    """Makes the report of a run, for the command line; libraries' messages go to the run's log.

    Raises:
        ConfigError: See `choose_run` and `write_report`.
    """
    paths = RootPaths(root.absolute())
    chosen = choose_run(paths, run_id)
    with file_errors(paths.report(chosen)), log_to(paths.run(chosen) / "log.txt", verbose) as screen:
        return write_report(paths, chosen, RunConsole(screen, 1))


def write_report(paths: RootPaths, run_id: str, console: RunConsole) -> Path:
    """Writes the report of a run, whatever became of it, and returns its path.

    Raises:
        OSError: It cannot be written.
    """
    console.working("Report")
    progress.set_sink(console.advanced)
    try:
        # What they import takes seconds.
        from pipeline.report.gather import gather
        from pipeline.report.importance import importance_of
        from pipeline.report.page import render

        page = render(gather(paths, run_id, lambda run, config: importance_of(paths, run, config)))
    finally:
        progress.set_sink(None)
        console.rest()
    path = paths.report(run_id)
    write_whole(path, page)
    return path
