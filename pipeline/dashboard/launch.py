"""Puts the notebook of a run into the run's folder, and opens it in Jupyter."""

import importlib.util
import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline.paths import RootPaths
from pipeline.report.write import choose_run
from pipeline.siblings import file_errors, write_whole
from schemas.errors import ConfigError

_NOTEBOOK = "dashboard.ipynb"
_PARAMETERS = "# Written by `clickrank dashboard`.\n"
"""First line of the cell that says which run it is."""

_JUPYTER = ("jupyterlab", "notebook")
_PROJECT = Path(__file__).parents[2]


def write_notebook(root: Path, run_id: str | None) -> Path:
    """Writes the notebook of a run, of the latest unless one is asked for, and returns its path. An older one is overwritten.

    Raises:
        ConfigError: There is no such run, or it did not come to its end; the notebook cannot be written.
    """
    paths = RootPaths(root.absolute())
    chosen = choose_run(paths, run_id)
    if not (paths.run(chosen) / "summary.json").exists():
        raise ConfigError(f"run {chosen} did not come to its end; `clickrank report` shows how far it got")
    path = paths.run(chosen) / _NOTEBOOK
    with file_errors(path):
        write_whole(path, json.dumps(filled(str(paths.root), chosen), indent=1) + "\n")
    return path


def filled(root: str, run_id: str) -> dict[str, Any]:
    """Returns the notebook that ships with the project, with the run in its first code cell."""
    notebook: dict[str, Any] = json.loads(resources.files(__package__).joinpath(_NOTEBOOK).read_text("utf-8"))
    (cell,) = (cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"][0] == _PARAMETERS)
    cell["source"] = [_PARAMETERS, f"ROOT = {root!r}\n", f"RUN = {run_id!r}"]
    return notebook


def open_notebook(path: Path) -> None:
    """Opens a notebook in Jupyter, and returns when that ends.

    Raises:
        ConfigError: Jupyter is not installed.
    """
    tool = next((name for name in _JUPYTER if importlib.util.find_spec(name)), None)
    if tool is None:
        raise ConfigError(f"{path} is written, but Jupyter is not installed: install the package jupyterlab, or give --no-open")
    python_path = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", tool, str(path)]
    subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": python_path, "TF_USE_LEGACY_KERAS": "1"})
