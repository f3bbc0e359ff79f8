"""What a run shows on the screen: a line a node, a bar while a long one works, and a closing summary."""

import time
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_NAME_WIDTH = 18
_MANY = 1000
"""Of so many units, a percentage says more than the numbers."""


class RunConsole:
    """Follows the nodes of one run; a `runners.NodeWatcher`.

    Args:
        screen: Where to write.
        total: How many nodes will run.
        done: How many of them are behind already.
    """

    def __init__(self, screen: TextIO, total: int, done: int = 0):
        self._console = Console(file=screen, highlight=False)
        self._total = total
        self._done = done
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self.seconds: dict[str, float] = {}
        self.cached: set[str] = set()

    def say(self, text: str, style: str | None = None) -> None:
        """Writes a line."""
        self._console.print(text, style=style, soft_wrap=True, markup=False)

    def started(self, node_id: str) -> None:
        """Shows the node as working."""
        self.working(f"{self._count()} {node_id:<{_NAME_WIDTH}}")

    def working(self, what: str) -> None:
        """Shows a bar for what goes on, until `rest` (on a terminal only)."""
        if not self._console.is_terminal:
            return
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task(what, total=None, note="")
        self._progress.start()

    def advanced(self, stage: str, done: int, total: int) -> None:
        """Moves the working node's bar; a `schemas.progress` sink."""
        if self._progress and self._task is not None:
            note = f"{stage} {done}/{total}" if total < _MANY else f"{stage} {done / total:.0%}"
            self._progress.update(self._task, completed=done, total=total, note=note)

    def finished(self, node_id: str, seconds: float, cached: bool) -> None:
        """Writes the node's line."""
        self.rest()
        self.seconds[node_id] = seconds
        if cached:
            self.cached.add(node_id)
        self.say(f"{self._count()} {node_id:<{_NAME_WIDTH}} {seconds:7.1f} s{'  cached' if cached else ''}")
        self._done += 1

    def failed(self, node_id: str, seconds: float, error: BaseException) -> None:
        """Writes the node's line; the message comes with the end of the run."""
        self.rest()
        self.seconds[node_id] = seconds
        self.say(f"{self._count()} {node_id:<{_NAME_WIDTH}} {seconds:7.1f} s  failed", style="red")

    def _count(self) -> str:
        return f"{self._done + 1:2d}/{self._total}"

    def rest(self) -> None:
        """Takes the bar away."""
        if self._progress:
            self._progress.stop()
        self._progress = self._task = None

    def summarise(self, summary: dict[str, Any]) -> None:
        """Writes the closing summary of a finished run; `summary` is that of `pipeline.results.summarise`."""
        self.say("")
        self.say(f"MAP@12 over {summary['displays']:,} eval displays, exact")
        best = summary["map_at_12_best"]
        rows = [
            ("random", summary["map_at_12_random"], ""),
            ("popularity", summary["map_at_12_popularity"], "rank by smoothed as-of ad CTR"),
            ("blessed before", summary["map_at_12_blessed"], "the latest blessed model"),
            ("this model", summary["map_at_12"], _way(summary)),
            ("best possible", best, "knows the true click probabilities of the synthetic log"),
        ]
        top = max(value for _, value, _ in rows if value is not None)
        for name, value, note in rows:
            if value is not None:
                bar = "█" * round(30 * value / top)
                self.say(f"  {name:<15} {value:.4f}  {bar:<30}  {note}".rstrip(), style="bold" if name == "this model" else None)
        self.say("")
        if summary["blessed"]:
            self.say("BLESSED", style="bold green")
        else:
            self.say("NOT BLESSED", style="bold red")
        for reason in summary["reasons"]:
            self.say(f"  {reason}")
        if not summary["infra"]["passed"]:
            self.say("INFRA CHECK FAILED", style="bold red")
            for reason in summary["infra"]["reasons"]:
                self.say(f"  {reason}")
        if summary["pushed_path"]:
            what = "Already pushed" if summary["pushed_before"] else "Pushed"
            self.say(f"{what} as version {summary['pushed_version']}: {summary['pushed_path']}")
        else:
            self.say(f"Nothing was pushed{': ' + summary['not_pushed'] if summary['not_pushed'] else '.'}")
        if "rerun" in summary:
            for line in _compared(summary["rerun"], summary["blessed"]):
                self.say(line, style="bold" if summary["rerun"]["same"] else "bold yellow")
        memory = f"{summary['peak_rss_bytes'] / 2**30:.1f} GiB"
        self.say(f"Took {_duration(summary['seconds'])}, peak memory {memory}. {_made(summary)}")


def _made(summary: dict[str, Any]) -> str:
    return f"Report: {summary['report']}" if summary["report"] else f"All figures: {summary['summary']}"


def _compared(rerun: dict[str, Any], blessed: bool) -> list[str]:
    """Renders what `pipeline.repetition.compare` returns as lines for people; `blessed` is the rerun's verdict."""
    if rerun["same"]:
        files = {True: "; the model's files are the same, too", False: "; the model's files are not", None: ""}[rerun["same_model"]]
        lines = [f"Rerun of {rerun['of']}: MAP@12 is the same, bit for bit{files}."]
    else:
        difference = rerun["difference"]
        lines = [
            f"Rerun of {rerun['of']}: MAP@12 is NOT the same: {abs(difference):.3g} {'higher' if difference > 0 else 'lower'} than "
            f"{rerun['map_at_12']:.6f}."
        ]
    if rerun["changed"]:
        lines.append(f"Not as it was then: {'; '.join(rerun['changed'])}.")
    if rerun["blessed"] != blessed:
        then = "blessed" if rerun["blessed"] else "not blessed"
        lines.append(f"Then it was {then}; a rerun is held against the model that is blessed now.")
    return lines


def _way(summary: dict[str, Any]) -> str:
    if summary["way_to_best"] is None:
        return ""
    return f"{summary['way_to_best']:.0%} of the way from random to the best possible"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else time.strftime("%M min %S s", time.gmtime(seconds)).lstrip("0")
