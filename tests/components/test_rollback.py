import json
import shutil

import pytest

from components.pusher import versions
from components.pusher.manifest import MANIFEST, content_digest, damage, read_manifest
from components.pusher.versions import WithdrawnError, push, rollback
from schemas.errors import ConfigError, InputDataError
from tests.components.test_pusher import make_model, names


@pytest.fixture
def models(tmp_path):
    """Folders of three models, a, b and c."""
    return {name: make_model(tmp_path / name, name.encode()) for name in "abc"}


@pytest.fixture
def base(tmp_path, models):
    """Versions of a, b and c, in this order."""
    for model in models.values():
        push(model, tmp_path / "serving")
    return tmp_path / "serving"


def test_the_version_before_becomes_a_new_one(base, models):
    first, second, third = versions.versions(base)
    back = rollback(base)
    assert versions.versions(base) == [first, second, third, back.number]
    assert back.number > third  # which is what TensorFlow Serving goes by
    assert versions.current(base) == back.path
    assert content_digest(back.path) == content_digest(models["b"])
    assert damage(back.path, contents=True) is None
    manifest = read_manifest(back.path)
    assert (manifest.version, manifest.restores, manifest.source) == (back.number, second, str(models["b"]))
    assert manifest.rolled_back_from == (third, content_digest(models["c"]))
    assert names(base) == [".lock", *map(str, versions.versions(base)), "CURRENT"]


def test_again_goes_back_one_more_and_then_there_is_none(base, models):
    rollback(base)
    assert content_digest(rollback(base).path) == content_digest(models["a"])
    with pytest.raises(ConfigError, match="is another model that was not rolled back; --to names one"):
        rollback(base)


def test_to_a_version_by_its_number_is_done_once(base, models):
    first, second, _ = versions.versions(base)
    back = rollback(base, first)
    assert content_digest(back.path) == content_digest(models["a"])
    again = rollback(base, first)
    assert (again.number, again.reused) == (back.number, True)
    assert rollback(base, back.number).reused
    forward = rollback(base, second)
    assert content_digest(forward.path) == content_digest(models["b"])


def test_a_model_that_was_rolled_back_is_not_pushed_again_until_a_rollback_brings_it_back(base, models):
    *_, third = versions.versions(base)
    rollback(base)
    with pytest.raises(
        WithdrawnError, match=rf"version {third}, which was rolled back; `clickrank rollback --to {third}`"
    ) as raised:
        push(models["c"], base)
    assert raised.value.exit_code == 4
    assert push(models["b"], base).reused
    assert not push(models["a"], base).reused  # it was replaced, not rolled back
    forward = rollback(base, third)
    assert push(models["c"], base).number == forward.number


def test_a_new_model_goes_out_after_a_rollback(base, tmp_path):
    back = rollback(base)
    new = push(make_model(tmp_path / "d", b"d"), base)
    assert new.number > back.number
    assert versions.current(base) == new.path


def test_what_cannot_be_gone_back_to(base, tmp_path):
    first, second, _ = versions.versions(base)
    with pytest.raises(ConfigError, match=rf"there is no version 7; there are {first}, {second}, "):
        rollback(base, 7)
    with pytest.raises(ConfigError, match="empty: there is no version to go back to"):
        rollback(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda v: (v / "saved_model.pb").unlink(), "saved_model.pb is missing"),
        (lambda v: shutil.rmtree(v / "variables"), "variables/variables.data-00000-of-00001 is missing"),
        (lambda v: (v / "assets/vocabulary").write_text("a"), "assets/vocabulary has 1 bytes, not 4 as when it was pushed"),
        (lambda v: (v / "assets/vocabulary").write_text("a\nc\n"), "assets/vocabulary is not what was pushed"),
    ],
    ids=["graph", "variables", "cut", "changed"],
)
def test_a_damaged_version_is_not_put_back(base, harm, message):
    first, second, third = versions.versions(base)
    harm(base / str(second))
    with pytest.raises(InputDataError, match=f"{second}: damaged, so it is not put back in service: .*{message}"):
        rollback(base, second)
    assert versions.current(base).name == str(third)
    assert versions.versions(base) == [first, second, third]


def test_versions_that_others_made(base, tmp_path, models):
    """Without a manifest, or with one of before there were checksums, and without CURRENT."""
    first, second, third = versions.versions(base)
    (base / str(first) / MANIFEST).unlink()
    manifest = json.loads((base / str(second) / MANIFEST).read_text())
    (base / str(second) / MANIFEST).write_text(json.dumps({k: manifest[k] for k in ("version", "digest", "source", "pushed_at")}))
    (base / "CURRENT").unlink()
    assert versions.current(base).name == str(third)
    assert content_digest(rollback(base).path) == content_digest(models["b"])
    back = rollback(base, first)
    assert content_digest(back.path) == content_digest(models["a"])
    assert read_manifest(back.path).source == str(base / str(first))


@pytest.mark.parametrize("content", ["", "x", "17", "-1"])
def test_a_current_that_names_no_version_is_passed_over_and_mended(base, models, content):
    newest = max(versions.versions(base))
    (base / "CURRENT").write_text(content)
    assert versions.current(base).name == str(newest)
    assert push(models["c"], base).reused
    assert (base / "CURRENT").read_text() == f"{newest}\n"


def test_a_newest_version_without_its_model_is_replaced(base, models):
    """TensorFlow Serving would still try to load it, for it goes by the number."""
    _, second, third = versions.versions(base)
    (base / str(third) / "saved_model.pb").unlink()
    assert versions.current(base).name == str(second)
    again = push(models["b"], base)
    assert (again.number > third, again.reused) == (True, False)
    assert versions.current(base) == again.path
    (again.path / "saved_model.pb").unlink()
    back = rollback(base)
    assert content_digest(back.path) == content_digest(models["b"])
    assert versions.current(base) == back.path


def test_the_newest_deleted_by_hand(base, models):
    _, second, third = versions.versions(base)
    shutil.rmtree(base / str(third))
    assert versions.current(base).name == str(second)
    assert push(models["b"], base).reused
    assert (base / "CURRENT").read_text() == f"{second}\n"
