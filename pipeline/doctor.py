"""Checks whether this machine can run the pipeline."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from pipeline.noise import log_to
from schemas.config import Config
from schemas.errors import ClickrankError
from schemas.metadata import MetadataConfig

_MIN_MEMORY_BYTES = 4 << 30
_MIN_DISK_BYTES = 5 << 30
_IMPORT = (
    "import os; os.environ['TF_USE_LEGACY_KERAS'] = '1'; "
    "import tensorflow, tf_keras, tfx.v1, tensorflow_model_analysis, ml_metadata; "
    "from ml_metadata.proto import metadata_store_pb2 as p; c = p.ConnectionConfig(); c.fake_database.SetInParent(); "
    "ml_metadata.MetadataStore(c).get_artifacts(); print(tensorflow.__version__, end='')"
)


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    passed: bool
    found: str


def examine(root: Path, config: Config) -> list[Check]:
    """Looks at the interpreter, packages, memory, the disk under `root`, the metadata store's server and the model.

    Takes half a minute of imports.
    """
    machine = [_python(), _libc(), *_packages(), _memory(), _disk(root), _writable(root), _imports()]
    return [*machine, *look_at_store(config.metadata), _model(config)]


def _python() -> Check:
    return Check("python", sys.version_info[:2] == (3, 11), f"{platform.python_version()} (3.11 is wanted)")


def _libc() -> Check:
    name, version = platform.libc_ver()
    recent = tuple(int(part) for part in version.split(".")[:2]) >= (2, 28) if version else False
    return Check("libc", name == "glibc" and recent, f"{name or 'unknown'} {version} (glibc 2.28 or newer is wanted)")


def _packages() -> list[Check]:
    checks = []
    for name in (
        "tensorflow",
        "tf-keras",
        "tfx",
        "tensorflow-transform",
        "tensorflow-model-analysis",
        "apache-beam",
        "ml-metadata",
        "kfp",
    ):
        try:
            checks.append(Check(name, True, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            checks.append(Check(name, False, "not installed; run `make setup`"))
    return checks


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Check("memory", total >= _MIN_MEMORY_BYTES, f"{total / 2**30:.1f} GiB, {os.cpu_count()} cores (4 GiB is the least)")


def _disk(root: Path) -> Check:
    place = next(parent for parent in [root.absolute(), *root.absolute().parents] if parent.exists())
    free = shutil.disk_usage(place).free
    return Check("disk", free >= _MIN_DISK_BYTES, f"{free / 2**30:.1f} GiB free under {place} (5 GiB is the least)")


def _writable(root: Path) -> Check:
    place = next(parent for parent in [root.absolute(), *root.absolute().parents] if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check("writable", True, str(place))
    except OSError as error:
        return Check("writable", False, f"{place}: {error.strerror}")


def _imports() -> Check:
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Check("imports", True, f"TensorFlow {done.stdout} with tf_keras, TFX, TFMA and ML Metadata work together")
    return Check("imports", False, (done.stderr.strip().splitlines() or ["failed without a word"])[-1])


def look_at_store(config: MetadataConfig) -> list[Check]:
    """Whether the metadata store's server lets us in; nothing of a file, which the run makes."""
    if config.store == "sqlite":
        return []
    with tempfile.TemporaryDirectory(prefix="clickrank-doctor-") as temporary, log_to(Path(temporary) / "log.txt", verbose=False):
        from pipeline.connection import reach

        try:
            return [Check("metadata store", True, reach(config))]
        except ClickrankError as error:
            return [Check("metadata store", False, str(error))]


def _model(config: Config) -> Check:
    command = [sys.executable, "-m", "components.trainer.check"]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    given = config.model_dump_json()
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, env=environment)
    if done.returncode == 0:
        return Check("model", True, f"{config.model.kind} can be built" + (" and started" if config.trainer.warm_start else ""))
    return Check("model", False, done.stdout or (done.stderr.strip().splitlines() or ["failed without a word"])[-1])
