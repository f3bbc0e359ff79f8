"""What the documents say exists: commands and their options, make targets, paths, configuration keys, links.

Nothing is run. Commands are parsed by the command line's own parser; the configuration they name is loaded.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from pipeline.cli import app
from pipeline.config import load_config
from schemas.config import Config
from schemas.errors import ConfigError

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FOLDERS = ("benchmarks", "components", "configs", "docs", "k8s", "pipeline", "schemas", "tests", "transforms")
SECTIONS = tuple(Config.model_fields)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
SHELL = ("sh", "bash", "console", "shell")
FILE_SUFFIXES = (".py", ".md", ".yaml", ".toml", ".pbtxt", ".ipynb")


def problems(text: str, folder: Path = ROOT) -> list[str]:
    """Returns everything in a Markdown text that names something that is not there, as `what: why`."""
    fences = FENCE.findall(text)
    prose = FENCE.sub("", text)
    found = []
    for language, block in fences:
        if language in SHELL:
            found += [f"{shlex.join(words)}: {why}" for words in commands(block) for why in wrong_command(words, complete=True)]
        if language == "yaml":
            found += wrong_settings(block)
    for code in INLINE.findall(prose):
        found += [f"`{code}`: {why}" for why in wrong_code(code)]
    found += [f"({target}): {why}" for target in LINK.findall(prose) for why in wrong_link(target, text, folder)]
    return found


def commands(block: str) -> Iterator[list[str]]:
    """Yields the words of every command in a shell block, without variables set in front of it and files it is redirected to."""
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";|&"):
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words:
                    yield words
                words = []
            elif words and words[-1] in (">", ">>", "<"):
                words.pop()
            else:
                words.append(word)


def wrong_command(words: list[str], *, complete: bool) -> list[str]:
    """Checks a `clickrank` or `make` command; an incomplete one may lack what its sub-command requires."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return [f"no make target {word}" for word in words[1:] if "=" not in word and word not in targets]
    if words[0].removeprefix(".venv/bin/") != "clickrank":
        return []
    command, name, rest = typer.main.get_command(app), "clickrank", words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return [f"{name} has no command {rest[0]}"]
        command, name, rest = command.commands[rest[0]], f"{name} {rest[0]}", rest[1:]
    if "--help" in rest or hasattr(command, "commands"):
        return []
    if not complete:
        known = {option for parameter in command.params for option in parameter.opts}
        return [f"{name} has no option {word}" for word in rest if word.startswith("--") and word.split("=")[0] not in known]
    try:
        given = command.make_context(name, list(rest)).params
        files = [file for file in given.get("config") or () if file.parts[0] in FOLDERS]
        load_config([ROOT / file for file in files], given.get("set_") or ())
    except Exception as error:
        return [str(error) or type(error).__name__]
    return []


def wrong_code(code: str) -> list[str]:
    """Checks a code span that looks like a command, a path of the project, or a configuration key."""
    words = code.split()
    if words[0] in ("clickrank", "make") and len(words) > 1:
        return wrong_command(words, complete=False)
    if re.fullmatch(r"[\w./*-]+", code) and ((code.split("/")[0] in FOLDERS and "/" in code) or code.endswith(FILE_SUFFIXES)):
        # A name without a folder may be any file's; one that a run writes is not in the project.
        present = any(ROOT.glob(code.rstrip("/"))) if "/" in code else any(ROOT.glob(f"[!.]*/**/{code}")) or (ROOT / code).exists()
        return [] if present or code == "config.resolved.yaml" else ["no such file or folder"]
    key = re.fullmatch(r"([a-z_]+)\.([a-z0-9_.]+)(=.*)?", code)
    if key and key[1] in SECTIONS and key[2] not in ("json", "csv", "html", "sqlite") and not has_key(f"{key[1]}.{key[2]}"):
        return ["no such configuration key"]
    return []


def has_key(path: str) -> bool:
    """Whether the configuration has a key of that path."""
    tree = Config().model_dump()
    for name in path.split("."):
        if not isinstance(tree, dict) or name not in tree:
            return False
        tree = tree[name]
    return True


def wrong_settings(block: str) -> list[str]:
    """Checks a YAML block: all of them are configuration files, or part of one."""
    import yaml

    try:
        tree = yaml.safe_load(block)
        load_config((), [f"{section}={value!r}" for section, value in flat(tree)])
    except (yaml.YAMLError, ConfigError) as error:
        return [f"yaml block: {error}"]
    return []


def flat(tree: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yields path -> value of the leaves of a configuration tree."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from flat(value, f"{path}.{key}" if path else key)
    else:
        yield path, tree


def wrong_link(target: str, text: str, folder: Path) -> list[str]:
    """Checks a link that leads to a file of the project or a heading of a document."""
    if re.match(r"[a-z]+:", target):
        return []
    name, _, anchor = target.partition("#")
    file = (folder / name).resolve() if name else None
    if file and not file.exists():
        return ["no such file"]
    if anchor:
        headings = re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text() if file else text), re.MULTILINE)
        if anchor not in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}:
            return ["no such heading"]
    return []


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))
def test_a_document_names_only_what_is_there(doc):
    assert problems(doc.read_text(), doc.parent) == []


def test_the_documents_are_there_and_the_readme_shows_commands():
    assert {"README.md", "CONTRIBUTING.md", "architecture.md"} <= {doc.name for doc in DOCS}
    shown = [
        words
        for language, block in FENCE.findall((ROOT / "README.md").read_text())
        if language in SHELL
        for words in commands(block)
    ]
    assert ["make", "demo"] in shown
    assert {words[1] for words in shown if words[0].endswith("clickrank")} >= {"run", "predict"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```sh\nclickrank rnu data --root r\n```\n", "has no command rnu"),
        ("```sh\nmake setup && clickrank run data --root r --runer beam\n```\n", "No such option: --runer"),
        ("```sh\nclickrank run data \\\n  --set trainer.seed=1\n```\n", "root"),
        ("```sh\nclickrank run data --root r --set trainer.sed=1\n```\n", "unknown config key trainer.sed"),
        ("```sh\nclickrank run data --root r --config configs/gone.yaml\n```\n", "configs/gone.yaml: cannot be read"),
        ("```sh\nclickrank config shwo\n```\n", "clickrank config has no command shwo"),
        ("```sh\nX=1 make demos\n```\n", "no make target demos"),
        ("```yaml\ntrainer:\n  sed: 1\n```\n", "unknown config key trainer.sed"),
        ("Try `clickrank synth --display 5`.", "no option --display"),
        ("Try `make tests`.", "no make target tests"),
        ("See `transforms/ctrs.py`.", "no such file"),
        ("See `component/gate/verdict.py`.", "no such file"),
        ("See `judges.py`.", "no such file"),
        ("Set `trainer.sed`.", "no such configuration key"),
        ("Set `gate.min_gain=0.1`.", "no such configuration key"),
        ("See [there](docs/gone.md).", "no such file"),
        ("See [there](README.md#no-such-heading).", "no such heading"),
    ],
)
def test_what_is_not_there_is_found(text, problem):
    found = problems(text)
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nclickrank run data --root r --config mine.yaml --set 'split.eval_days=[9]' --json  # a; b\n```\n",
        "```sh\nmake lock UPGRADE=--upgrade\nls data | head\nclickrank config show > mine.yaml\n```\n",
        "```sh\n.venv/bin/clickrank config show --help\n```\n",
        "```text\nclickrank is only named here\n```\n",
        "```yaml\ntrainer:\n  wide_optimizer: {name: sgd, learning_rate: 0.1}\nsplit: {eval_days: []  , eval_fraction: 0.1}\n```\n",
        "`clickrank predict --submission`, `make demo`, `transforms/ctr.py`, `configs/`, `schemas/*.py`, `push.json`, `a/b`",
        "`trainer.wide_optimizer.learning_rate`, `split.eval_days=[]`, `push.directory`, `verdict.py`",
        "[licence](LICENSE), [elsewhere](https://example.com/x), [below](#a-b)\n\n## A b!\n",
    ],
)
def test_what_is_there_passes(text):
    assert problems(text) == []
