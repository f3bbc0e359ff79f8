"""Which of the project's code runs where, by what imports what; TFX's cache serves a node as long as its code is the same."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parent.parent
LAYERS = ("schemas", "transforms", "components", "pipeline")
"""The packages that are the project's, from the bottom up: a module imports from its own layer and those before it.

Where the project is installed, all other packages lie beside them.
"""


def folder_digest(folder: str) -> str:
    """Digest of the Python files in one of the project's folders; sub-folders included."""
    return _digest((PROJECT / folder).rglob("*.py"))


def module_digest(module: str) -> str:
    """Digest of the Python files of a module and of all that it imports from the project, directly or not, anywhere in its code."""
    return _digest(imported_files(module))


def imported_files(module: str) -> set[Path]:
    """The file of a module, and those of all that it imports from the project, packages around them included.

    Raises:
        ModuleNotFoundError: The project has no such module.
    """
    seen: set[Path] = set()
    left = list(_files(module))
    if not left:
        raise ModuleNotFoundError(f"no module {module!r} in {PROJECT}")
    while left:
        file = left.pop()
        if file not in seen:
            seen.add(file)
            left += [found for name in _imports(file.read_bytes()) for found in _files(name)]
    return seen


def _digest(files: Iterator[Path] | set[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(PROJECT)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def _imports(source: bytes) -> tuple[str, ...]:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:  # the project has no relative imports
            names += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return tuple(names)


def _files(name: str) -> Iterator[Path]:
    """The files that importing a name runs: its own, if it is a module of the project, and those of the packages it is in."""
    if name.partition(".")[0] not in LAYERS:
        return
    path = PROJECT / name.replace(".", "/")
    own = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    if own:
        yield own[0]
        yield from (file for parent in path.relative_to(PROJECT).parents if (file := PROJECT / parent / "__init__.py").is_file())
