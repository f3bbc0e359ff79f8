"""The notebook ships and is filled in; that its cells work is in test_after_a_run.py."""

import json
import subprocess
import sys
import zipfile

from pipeline.dashboard.launch import filled, write_notebook
from tests.faults.command import PROJECT, check_failed, clickrank

RUN = "20260101-000000-abcd"


def make_run(root, *, ended=True):
    (root / "runs" / RUN).mkdir(parents=True)
    (root / "runs" / RUN / "config.resolved.yaml").write_text("")
    if ended:
        (root / "runs" / RUN / "summary.json").write_text("{}")


def source(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"]]


def test_the_notebook_names_the_run_and_says_that_it_loads_scripts(tmp_path):
    cells = source(filled("/a 'root'", RUN))
    assert "load scripts from the network" in cells[0]
    names = {}
    exec(cells[1], names)
    assert (names["ROOT"], names["RUN"]) == ("/a 'root'", RUN)


def test_it_is_written_into_the_runs_folder_and_every_cell_compiles(tmp_path):
    make_run(tmp_path)
    path = write_notebook(tmp_path, None)
    assert path == tmp_path / "runs" / RUN / "dashboard.ipynb"
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")
            assert cell["outputs"] == []


def test_without_jupyter_the_notebook_is_there_all_the_same(tmp_path):
    make_run(tmp_path)
    # As where neither package is installed.
    code = "import sys; sys.modules.update(jupyterlab=None, notebook=None)\nfrom pipeline import cli\n"
    code += "import importlib.util as u; find = u.find_spec\n"
    code += "u.find_spec = lambda name, *a: None if name in ('jupyterlab', 'notebook') else find(name, *a)\n"
    code += f"sys.argv = ['clickrank', 'dashboard', '--root', {str(tmp_path)!r}]\ncli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PROJECT)
    check_failed(done, 2, "is written, but Jupyter is not installed: install the package jupyterlab, or give --no-open")
    assert done.stdout.strip() == str(tmp_path / "runs" / RUN / "dashboard.ipynb")
    assert clickrank("dashboard", "--root", tmp_path, "--no-open").returncode == 0


def test_a_run_that_did_not_end_has_none(tmp_path):
    make_run(tmp_path, ended=False)
    check_failed(clickrank("dashboard", "--root", tmp_path, "--no-open"), 2, f"run {RUN} did not come to its end")


def test_an_installed_wheel_has_the_notebook(tmp_path):
    code = "from setuptools import build_meta; print(build_meta.build_wheel('OUT'))".replace("OUT", str(tmp_path))
    copy = tmp_path / "project"
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(copy)], check=True)
    for name in ("pyproject.toml", "pipeline/dashboard/dashboard.ipynb"):
        (copy / name).write_bytes((PROJECT / name).read_bytes())
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=copy)
    (wheel,) = tmp_path.glob("*.whl")
    assert "pipeline/dashboard/dashboard.ipynb" in zipfile.ZipFile(wheel).namelist()
