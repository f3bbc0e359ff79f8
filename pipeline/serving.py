"""The pushed versions of a root, and going back to an older one."""

import json
import time
from pathlib import Path
from typing import Any

from components.pusher import versions
from components.pusher.manifest import damage, read_manifest, recorded_digest
from pipeline.paths import RootPaths
from schemas.config import Config
from schemas.errors import ConfigError


def rollback(root: Path, config: Config, to: int | None) -> dict[str, Any]:
    """Puts an older version back in service; see `components.pusher.versions.rollback`.

    Args:
        root: Where the runs were.
        config: `push.directory` says where the versions are.
        to: Its number, or None for the one before.

    Returns:
        `version` and `path` of what is in service now, `restores`, the number of the version that it is a copy of, `was`, the
        number of what was in service, and `reused`, whether nothing had to be done.

    Raises:
        ClickrankError: As `components.pusher.versions.rollback`.
    """
    base = _base(root, config)
    was = versions.current(base)
    now = versions.rollback(base, to)
    manifest = read_manifest(now.path)
    return {
        "version": now.number,
        "path": str(now.path),
        "restores": manifest.restores if manifest else None,
        "was": int(was.name) if was else None,
        "reused": now.reused,
    }


def list_versions(root: Path, config: Config) -> list[dict[str, Any]]:
    """Lists the versions of a root, the oldest first.

    Returns:
        For each one `version`, `digest`, `pushed_at` (Unix time; None where another tool made it), `map_at_12` as its run measured
        it (None where that is not known), `restores` and `rolled_back_from` (numbers, or None; `components.pusher.manifest`),
        `current`, and `damage` (None where all files are there with their sizes).

    Raises:
        ConfigError: There is none.
    """
    base = _base(root, config)
    current, measured = versions.current(base), _measured(root)
    listed: list[dict[str, Any]] = []
    for number in versions.versions(base):
        path = versions.path_of(base, number)
        manifest = read_manifest(path)
        restores = manifest.restores if manifest else None
        known = {v["version"]: v["map_at_12"] for v in listed}
        listed.append(
            {
                "version": number,
                "digest": recorded_digest(path),
                "pushed_at": manifest.pushed_at if manifest else None,
                "map_at_12": measured.get(number, known.get(restores)),
                "restores": restores,
                "rolled_back_from": manifest.rolled_back_from[0] if manifest and manifest.rolled_back_from else None,
                "current": path == current,
                "damage": damage(path, contents=False),
            }
        )
    if not listed:
        raise ConfigError(f"{base}: there is no version; if a run was given push.directory, give it here as well")
    return listed


def line(version: dict[str, Any]) -> str:
    """Renders one of `list_versions` for people."""
    at = version["pushed_at"]
    pushed = time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) if at else "?"
    score = "       " if version["map_at_12"] is None else f"{version['map_at_12']:.4f} "
    notes = ["in service"] if version["current"] else []
    notes += [f"brings back {version['restores']}"] if version["restores"] else []
    notes += [f"instead of {version['rolled_back_from']}"] if version["rolled_back_from"] else []
    notes += [f"DAMAGED: {version['damage']}"] if version["damage"] else []
    return f"{version['version']:>12}  {version['digest'][:12]}  {pushed}  {score} {', '.join(notes)}".rstrip()


def _base(root: Path, config: Config) -> Path:
    return Path(config.push.directory or RootPaths(root.absolute()).serving)


def _measured(root: Path) -> dict[int, float]:
    """Version -> MAP@12, from the summaries of the root's runs."""
    found: dict[int, float] = {}
    for file in sorted(RootPaths(root.absolute()).run("*").parent.glob("*/summary.json")):
        try:
            summary = json.loads(file.read_text())
            if summary["pushed_version"] is not None:
                found.setdefault(summary["pushed_version"], summary["map_at_12"])
        except (OSError, ValueError, KeyError):
            continue  # of a run that was killed, or of another release
    return found
