"""Which code a node's digest is of."""

import pytest

from pipeline import code
from pipeline.code import PROJECT, folder_digest, imported_files, module_digest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """a.one imports b.two within a function; b.two imports b.three by name; a.four is imported by none, and json is not ours."""
    monkeypatch.setattr(code, "PROJECT", tmp_path)
    monkeypatch.setattr(code, "LAYERS", ("a", "b"))
    for name, source in {
        "a/__init__.py": "",
        "a/one.py": "import json\ndef f():\n    import b.two\n",
        "a/four.py": "",
        "b/__init__.py": "",
        "b/two.py": "from b import three\n",
        "b/three.py": "from a.one import f\n",
        "b/deep/five.py": "",
        "json.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


def names(files, root):
    return {str(file.relative_to(root)) for file in files}


def test_a_module_reaches_what_it_imports_and_what_that_imports(project):
    assert names(imported_files("a.one"), project) == {"a/__init__.py", "a/one.py", "b/__init__.py", "b/two.py", "b/three.py"}


@pytest.mark.parametrize("name", ["a/one.py", "b/two.py", "b/three.py", "b/__init__.py"])
def test_a_change_of_what_is_reached_is_another_digest(project, name):
    before = module_digest("a.one")
    (project / name).write_text((project / name).read_text() + "x = 1\n")
    assert module_digest("a.one") != before


def test_a_change_of_what_is_not_reached_is_none(project):
    before = module_digest("a.one")
    (project / "a/four.py").write_text("x = 1\n")
    assert module_digest("a.one") == before


def test_a_module_that_moved_is_another(project):
    before = module_digest("b.two")
    (project / "b/three.py").rename(project / "b/other.py")
    (project / "b/two.py").write_text("from b import other\n")
    assert module_digest("b.two") != before


def test_there_must_be_a_module(project):
    with pytest.raises(ModuleNotFoundError, match=r"no module 'a\.six' in "):
        module_digest("a.six")


def test_a_folder_is_all_that_is_in_it(project):
    before = folder_digest("b")
    (project / "a/one.py").write_text("x = 1\n")
    assert folder_digest("b") == before
    (project / "b/deep/five.py").write_text("x = 1\n")
    assert folder_digest("b") != before


@pytest.mark.parametrize(
    ("module", "reaches", "leaves"),
    [
        ("components.trainer.run", "components/evaluator/ranking.py", "components/evaluator/tally.py"),  # it picks the best epoch
        ("components.trainer.run", "components/prebatch/record_file.py", "components/gate/verdict.py"),
        ("components.gate.executor", "components/evaluator/results.py", "components/trainer/run.py"),
        ("components.click_example_gen.executor", "transforms/users.py", "components/trainer/run.py"),
        ("components.leak_audit.executor", "schemas/features.py", "components/gate/verdict.py"),
        ("transforms.preprocessing", "schemas/config.py", "components/trainer/run.py"),
    ],
)
def test_what_the_nodes_run(module, reaches, leaves):
    files = names(imported_files(module), PROJECT)
    assert reaches in files
    assert leaves not in files
