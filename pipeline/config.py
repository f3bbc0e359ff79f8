"""Loads the configuration: defaults in code, YAML files on top, then `--set`."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

import yaml
from pydantic import BaseModel, ValidationError

from schemas.config import Config
from schemas.errors import ConfigError


def load_config(files: Sequence[Path] = (), settings: Sequence[str] = ()) -> Config:
    """Builds the configuration of a command.

    Args:
        files: YAML files; a later one wins over an earlier one, key by key.
        settings: `path.to.key=VALUE`, the value parsed as YAML; they win over the files.

    Raises:
        ConfigError: A file cannot be read, a key is unknown (names the nearest one), or a value is not allowed.
    """
    tree: dict[str, Any] = Config().model_dump(mode="json")
    for file in files:
        _merge(tree, _read(file))
    for setting in settings:
        path, sign, value = setting.partition("=")
        if not sign or not path:
            raise ConfigError(f"--set expects path.to.key=VALUE. Received: {setting!r}")
        _merge(tree, _nest(path.split("."), _parse(value, f"--set {setting}")))
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        _explain(error)


def to_yaml(config: Config) -> str:
    """Renders the whole configuration as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)


class _StrictLoader(yaml.SafeLoader):
    """YAML without what has no place in a configuration: tags, aliases (they can explode), repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {' '.join(str(error).split())}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    tree = _parse(text, str(file))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: expected sections of keys. Received: {type(tree).__name__}")
    return tree


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value


def _merge(tree: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _explain(error: ValidationError) -> NoReturn:
    """Turns the first problem that pydantic found into one line."""
    problem = error.errors()[0]
    loc = [str(part) for part in problem["loc"]]
    path = ".".join(loc)
    if problem["type"] == "extra_forbidden":
        known = _known_keys()
        near = difflib.get_close_matches(path, known, 1, 0.5) or [
            key
            for key in known
            if key.rsplit(".", 1)[-1] in difflib.get_close_matches(loc[-1], [k.rsplit(".", 1)[-1] for k in known], 1)
        ]
        hint = f"; did you mean {near[0]}?" if near else "; `clickrank config show` lists all keys"
        raise ConfigError(f"unknown config key {path}{hint}")
    message = problem["msg"].removeprefix("Value error, ")
    # An address may hold a password.
    received = "" if isinstance(problem["input"], dict) else f". Received: {re.sub('//[^/@]*@', '//***@', repr(problem['input']))}"
    raise ConfigError(f"{path or 'config'}: {message[0].lower()}{message[1:]}{received}")


def _known_keys(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys += _known_keys(inner, f"{prefix}{name}.")
    return keys
