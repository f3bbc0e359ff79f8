"""Commands about the configuration and the machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import AsJson, ConfigFiles, Settings, load

app = typer.Typer(help="Show the configuration.", no_args_is_help=True)


@app.command("show")
def config_show(config: ConfigFiles = None, set_: Settings = None, as_json: AsJson = False) -> None:
    """Print the whole configuration after files and --set, as YAML."""
    from pipeline.config import to_yaml

    loaded = load(config, set_)
    typer.echo(loaded.model_dump_json() if as_json else to_yaml(loaded).rstrip())


@app.command("schema")
def config_schema(as_json: AsJson = False) -> None:
    """Print every key with its type, default, bounds and meaning, as JSON Schema."""
    from schemas.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=None if as_json else 1))


def doctor(
    root: Annotated[Path, typer.Option(help="Folder whose file system is checked.")] = Path(),
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Check that this machine can run the pipeline, and that the configuration is sound."""
    from pipeline.doctor import examine

    checks = examine(root, load(config, set_))
    sound = all(check.passed for check in checks)
    if as_json:
        typer.echo(json.dumps({"sound": sound, "checks": [check._asdict() for check in checks]}))
    else:
        for check in checks:
            typer.echo(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<26} {check.found}")
    if not sound:
        raise typer.Exit(2)
