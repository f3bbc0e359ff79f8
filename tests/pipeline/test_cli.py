"""The command line as a user meets it: a process of its own."""

import json
import subprocess
import sys

import pytest
import typer

from pipeline.cli import app
from tests.tables import write_log


def clickrank(*args):
    return subprocess.run([sys.executable, "-m", "pipeline.cli", *map(str, args)], capture_output=True, text=True, check=False)


def commands(command, path=()):
    """The words of every command and group of commands."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


@pytest.mark.parametrize("command", commands(typer.main.get_command(app)), ids=lambda path: " ".join(path) or "clickrank")
def test_every_command_explains_itself(command):
    done = clickrank(*command, "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout


def test_help_loads_none_of_the_heavy_packages():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom pipeline.cli import app\n"
        "assert CliRunner().invoke(app, ['run', '--help']).exit_code == 0\n"
        "print([m for m in ('numpy', 'pyarrow', 'tensorflow', 'apache_beam', 'tfx', 'yaml') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_config_show_prints_what_load_config_reads(tmp_path):
    done = clickrank("config", "show", "--set", "trainer.seed=7")
    assert done.returncode == 0
    assert "seed: 7" in done.stdout
    assert json.loads(clickrank("config", "show", "--json").stdout)["split"]["eval_days"] == [11, 12]


def test_config_schema_has_a_description_for_every_key():
    schema = json.loads(clickrank("config", "schema").stdout)
    for section, model in schema["$defs"].items():
        for name, key in model["properties"].items():
            assert key.get("description") or "$ref" in key, f"{section}.{name}"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["run", "nowhere", "--root", "ROOT"], 3, "error: nowhere: no such folder, or an empty one"),
        (
            ["run", "LOG", "--root", "ROOT", "--set", "trainer.sed=1"],
            2,
            "error: unknown config key trainer.sed; did you mean trainer.seed?",
        ),
        (["run", "LOG", "--root", "ROOT", "--from-node", "Trainr"], 2, "error: --from-node: no such node. Received: 'Trainr'"),
        (["run", "LOG", "--root", "ROOT", "--runner", "spark"], 2, "error: --runner is beam or local. Received: 'spark'"),
        (["run", "LOG", "--root", "/dev/null/x"], 2, "error: --root /dev/null/x: cannot be made: Not a directory"),
        (["predict", "nowhere", "LOG", "out.csv"], 2, "error: nowhere: no SavedModel, and no numbered version of one"),
        (["run"], 2, "Missing argument"),
    ],
)
def test_a_wrong_argument_explains_itself_and_makes_nothing(tmp_path, args, code, message):
    log = write_log(tmp_path / "log")
    done = clickrank(*[{"LOG": log, "ROOT": tmp_path / "root"}.get(a, a) for a in args])
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "root" / "runs").exists()


def test_json_is_the_last_line_even_of_a_failure(tmp_path):
    done = clickrank("run", "nowhere", "--root", tmp_path, "--json")
    assert json.loads(done.stdout.splitlines()[-1]) == {"error": "nowhere: no such folder, or an empty one", "exit_code": 3}
