"""What a run was made of, beside its configuration: data, code, packages, machine. Kept in the run's folder, for a rerun."""

import importlib.metadata
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.code import LAYERS, folder_digest
from pipeline.nodes import NODES
from pipeline.paths import RootPaths
from pipeline.siblings import write_whole
from schemas.errors import ConfigError
from transforms.contents import FileContent, fingerprint, read_contents
from transforms.sources import Source

_PACKAGES = (
    "apache-beam",
    "numpy",
    "pyarrow",
    "tensorflow",
    "tensorflow-model-analysis",
    "tensorflow-transform",
    "tf-keras",
    "tfx",
)


@dataclass(frozen=True, slots=True)
class Record:
    """What a run was made of.

    Attributes:
        data: Folder of the raw tables, absolute.
        files: Their files; of a run that began later than ClickExampleGen, what the run before it was made of.
        fingerprint: Digest of the raw tables, as in the metadata store.
        code: Layer -> digest of its Python files.
        packages: Name -> version.
        machine: Processor, and its number of cores.
        runner: As in `clickrank run --runner`.
        from_node: The first node that ran, if it was not the first there is.
        rerun_of: The run that this one repeats.
    """

    data: str
    files: tuple[FileContent, ...]
    fingerprint: str
    code: dict[str, str]
    packages: dict[str, str]
    machine: str
    runner: str
    from_node: str | None = None
    rerun_of: str | None = None

    def differences(self, then: "Record") -> list[str]:
        """Returns in words what else than the data is not what it was."""
        found = [f"the code in {layer}/" for layer in LAYERS if self.code.get(layer) != then.code.get(layer)]
        found += [
            f"{name} {version} (was {then.packages.get(name, 'absent')})"
            for name, version in self.packages.items()
            if then.packages.get(name) != version
        ]
        if self.machine != then.machine:
            found.append(f"the machine, {self.machine} (was {then.machine})")
        if then.from_node:
            found.append(f"the first run began at {then.from_node}, with what the run before it had left")
        return found


def keep_record(
    paths: RootPaths,
    run_id: str,
    data: Path,
    sources: dict[str, Source],
    *,
    runner: str,
    from_node: str | None,
    rerun_of: str | None,
) -> str:
    """Writes the record of a run that begins; none if it builds upon a run that has none.

    Returns:
        Digest of the raw tables, "" if there is no record.

    Raises:
        InputDataError: A file of the raw tables cannot be read.
        OSError: The record cannot be written.
    """
    place, earlier = str(data.absolute()), _latest(paths)
    if from_node not in NODES[1:]:
        files = read_contents(sources, earlier.files if earlier and earlier.data == place else ())
        digest = fingerprint(files)
    elif earlier:
        place, files, digest = earlier.data, earlier.files, earlier.fingerprint
    else:
        return ""
    record = Record(
        place,
        files,
        digest,
        {layer: folder_digest(layer) for layer in LAYERS},
        {name: importlib.metadata.version(name) for name in _PACKAGES},
        _machine(),
        runner,
        from_node,
        rerun_of,
    )
    write_whole(paths.record(run_id), json.dumps(asdict(record), indent=1) + "\n")
    return digest


def read_record(paths: RootPaths, run_id: str) -> Record:
    """Reads what a run was made of.

    Raises:
        ConfigError: The run kept no record, or it cannot be read.
    """
    path = paths.record(run_id)
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return Record(**(content | {"files": tuple(FileContent(**file) for file in content["files"])}))
    except FileNotFoundError as error:
        raise ConfigError(f"run {run_id} has no record of what it was made of ({path})") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: cannot be read, or is no record of a run: {error}") from error


def _latest(paths: RootPaths) -> Record | None:
    """The record of the latest run that has one that can be read."""
    for folder in sorted(paths.runs.glob("*/"), reverse=True):
        try:
            return read_record(paths, folder.name)
        except ConfigError:
            continue  # its own, which is not there yet, or of another release
    return None


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return f"{model}, {os.cpu_count()} cores"
