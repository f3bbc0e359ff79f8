"""The ids of runs: well-formed, and one for all that belongs to a job."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.jobs import check_run_id, choose_run_id, new_run_id
from schemas.errors import ConfigError

JOB = "79ba70d8-fa15-48eb-b5c7-b59bafa55335"


@pytest.mark.parametrize("run_id", ["20260101-120000-a1", "20260101-120000-steps", f"20260101-120000-{'a' * 40}"])
def test_the_id_of_a_run_begins_with_its_time(run_id):
    assert check_run_id(run_id) == run_id


@pytest.mark.parametrize("run_id", ["", "mine", "20260101-120000", "20260101-120000-", "20260101-120000-A", "20260101-120000-a/b"])
def test_other_ids_would_not_sort(run_id):
    with pytest.raises(ConfigError, match=r"--run-id is YYYYMMDD-HHMMSS-NAME.* Received: "):
        check_run_id(run_id)


def test_a_new_id_is_well_formed_and_now_and_not_that_of_another(monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-120000-")
    ids = {check_run_id(new_run_id()) for _ in range(20)}
    assert len(ids) > 1
    assert all(run_id.startswith("20260101-120000-") for run_id in ids)


def test_all_nodes_of_a_job_and_every_retry_get_the_same_id(tmp_path):
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda _: choose_run_id(tmp_path / "root", None, JOB), range(100)))
    (run_id,) = ids
    assert run_id == f"{run_id[:15]}-79ba70d8fa1548ebb5c7b59bafa55335"
    assert [file.name for file in (tmp_path / "root/jobs").iterdir()] == [JOB]
    assert choose_run_id(tmp_path / "root", None, JOB) == run_id


def test_another_job_has_another_id_and_so_has_another_root(tmp_path, monkeypatch):
    first = choose_run_id(tmp_path, None, JOB)
    assert choose_run_id(tmp_path, None, "clickrank-submit-29400000").endswith("-clickranksubmit29400000")
    monkeypatch.setattr(time, "strftime", lambda form: "20300101-120000-")
    assert choose_run_id(tmp_path, None, JOB) == first
    assert choose_run_id(tmp_path / "other", None, JOB).startswith("20300101-120000-")


def test_an_id_that_is_given_is_taken_and_nothing_is_written(tmp_path):
    assert choose_run_id(tmp_path, "20260101-120000-a", None) == "20260101-120000-a"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("run_id", "job", "message"),
    [
        (None, None, "a node needs --run-id, or --job in its place"),
        ("20260101-120000-a", JOB, "a node needs --run-id, or --job in its place"),
        (None, "{{$.pipeline_job_uuid}}", "give each run a run_id of its own. Received: '{{"),
        (None, "../a", "--job is a name of letters"),
        (None, "", "--job is a name of letters"),
        (None, "a" * 101, "--job is a name of letters"),
    ],
)
def test_what_cannot_name_a_run_is_refused(tmp_path, run_id, job, message):
    with pytest.raises(ConfigError, match=message.replace("{", r"\{")):
        choose_run_id(tmp_path, run_id, job)
    assert not list(tmp_path.iterdir())
