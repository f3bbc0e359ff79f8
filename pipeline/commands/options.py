"""Options that commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.config import Config

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", metavar="FILE", help="YAML file; repeat it, later ones win.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set path.to.key=VALUE on top of the files.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, last on stdout.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Leave the libraries' own messages on the screen.")]


def load(config: Sequence[Path] | None, settings: Sequence[str] | None) -> "Config":
    """Returns the configuration after files and settings.

    Raises:
        ConfigError: It is not sound.
    """
    from pipeline.config import load_config

    return load_config(config or (), settings or ())
