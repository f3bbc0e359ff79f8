"""Kills a push or a rollback before every line that it runs, and looks at the folder each time: `python -m
tests.components.kill_points WHAT MODEL BASE` prints what is wrong, and how many lines there were.

A process of its own, without TensorFlow, for it forks once for each line.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from components.pusher import durable, manifest, versions

_FILES = {module.__file__ for module in (durable, manifest, versions)}


def act(what: str, model: str, base: str) -> None:
    versions.push(model, base) if what == "push" else versions.rollback(base, int(what))


def killed_at(line: int, what: str, model: str, base: str) -> bool:
    """Does it in a child that a SIGKILL ends before its `line`-th line; False if it came to its end before."""
    child = os.fork()
    if child == 0:
        seen = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal seen
            if frame.f_code.co_filename not in _FILES:
                return None
            if event == "line":
                seen += 1
                if seen == line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        act(what, model, base)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def wrong(before: dict[int, str], after: str, base: str) -> list[str]:
    """What a server or a reader of CURRENT would see that it must not: `before` is number -> digest, `after` the new digest."""
    problems = []
    there = versions.versions(base)
    if not set(before) <= set(there) or len(there) > len(before) + 1:
        problems.append(f"versions {there}")
    for number in there:
        broken = manifest.damage(Path(base, str(number)), contents=True)
        if broken or manifest.content_digest(Path(base, str(number))) != before.get(number, after):
            problems.append(f"version {number}: {broken or 'is another model'}")
    served = versions.current(base)
    if served is None or int(served.name) not in {max(before), max(there)}:
        problems.append(f"{served} is in service")
    return problems


def main(what: str, model: str, base: str) -> None:
    problems, line, appeared = [], 0, 0
    kept = f"{base}-kept"
    shutil.copytree(base, kept)
    before = {number: manifest.content_digest(Path(base, str(number))) for number in versions.versions(base)}
    after = manifest.content_digest(model)
    while True:
        line += 1
        killed = killed_at(line, what, model, base)
        problems += [f"line {line}: {problem}" for problem in wrong(before, after, base)]
        appeared += len(versions.versions(base)) > len(before)
        act(what, model, base)
        problems += [f"line {line}, after the next one: {problem}" for problem in wrong(before, after, base)]
        numbers = [str(number) for number in versions.versions(base)]
        names = sorted(path.name for path in Path(base).iterdir())
        if len(numbers) != len(before) + 1 or names != sorted([".lock", "CURRENT", *numbers]):
            problems.append(f"line {line}, after the next one: left {names}")
        if versions.current(base) != Path(base, numbers[-1]):
            problems.append(f"line {line}, after the next one: CURRENT is {versions.current(base)}")
        shutil.rmtree(base)
        shutil.copytree(kept, base)
        if not killed:
            break
    sys.stdout.write(json.dumps({"problems": problems, "lines": line, "appeared": appeared}))


if __name__ == "__main__":
    main(*sys.argv[1:])
