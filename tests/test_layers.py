"""Imports go downwards only, and our top-level names are ours alone."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

from pipeline.code import LAYERS

ROOT = Path(__file__).parent.parent


def imports(file: Path) -> set[str]:
    """The top-level packages that a module imports, also inside of functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def modules(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_downwards_only(layer):
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) | {"tests"}
    assert modules(layer)
    assert {str(file): imports(file) & above for file in modules(layer) if imports(file) & above} == {}


def test_imports_name_the_whole_module():
    """`pipeline.code` finds out by them what a node runs."""
    files = [file for layer in LAYERS for file in modules(layer)]
    nodes = [(file, node) for file in files for node in ast.walk(ast.parse(file.read_text()))]
    assert [str(file) for file, node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


def test_transforms_never_import_tfx():
    assert [str(file) for file in modules("transforms") if "tfx" in imports(file)] == []


def test_no_other_distribution_owns_our_names():
    owners = importlib.metadata.packages_distributions()
    for name in LAYERS:
        assert set(owners.get(name, [])) <= {"clickrank"}, name
