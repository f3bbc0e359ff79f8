"""Recurring runs: once more is no change, another one takes the place of the old."""

import io

import pytest

from pipeline.kubeflow.recurring import six_fields
from pipeline.kubeflow.rest import BoundedRest
from pipeline.kubeflow.submit import submit
from schemas.errors import ConfigError
from tests.pipeline.kubeflow.backend import Fault

pytestmark = pytest.mark.usefixtures("quick")
LOOK = 7
"""Number of the call that looks for recurring runs, where there are none yet."""


@pytest.fixture
def schedule(configured, patience):
    def do(cron="0 3 * * *", *settings, **more):
        arguments = {"data": "/data", "root": "/root", "screen": io.StringIO(), "retries": patience.retries, **more}
        return submit(config=configured(*settings), cron=cron, **arguments)

    return do


def test_a_recurring_run_has_what_each_of_its_runs_needs(kubeflow, schedule):
    result = schedule()
    (made,) = kubeflow.things["recurring_runs"].values()
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    # The steps make the id: Kubeflow cannot be relied upon to put in the time.
    assert made["runtime_config"]["parameters"] == {"data": "/data", "root": "/root", "run_id": "", "overrides": []}
    assert made["service_account"] == "clickrank-pipeline"
    assert (made["max_concurrency"], made["no_catchup"], made["mode"]) == ("1", True, "ENABLE")
    assert made["pipeline_version_reference"]["pipeline_version_id"] in kubeflow.things["versions"]
    assert result["url"] == f"{kubeflow.address}/#/recurringrun/details/{made['recurring_run_id']}"
    assert (result["state"], result["name"], result["run_id"]) == ("created", "clickrank", None)
    assert kubeflow.things["runs"] == {}


def test_the_same_again_is_no_change(kubeflow, schedule):
    first = schedule()
    assert schedule() == first | {"state": "unchanged"}
    assert len(kubeflow.things["recurring_runs"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "0 4 * * *"},
        {"data": "/other"},
        {"root": "/other"},
        {"settings": ["trainer.seed=9"]},
        {"settings": ["kubeflow.api.service_account=other"]},
    ],
    ids=str,
)
def test_another_one_takes_the_place_of_the_old(kubeflow, schedule, change):
    first = schedule()
    settings = change.pop("settings", [])
    second = schedule(change.pop("cron", "0 3 * * *"), *settings, **change)
    assert second["state"] == "replaced"
    assert set(kubeflow.things["recurring_runs"]) == {second["kubeflow_id"]} != {first["kubeflow_id"]}
    # The new one is there before the old one goes.
    assert [call.split()[0] for call in kubeflow.calls[-3:]] == ["GET", "POST", "DELETE"]


def test_those_of_other_names_are_left_alone(kubeflow, schedule):
    schedule(name="nightly")
    schedule("0 4 * * *", name="weekly")
    assert sorted(kubeflow.names("recurring_runs")) == ["nightly", "weekly"]


def test_one_that_somebody_paused_stays_so_and_is_told(kubeflow, schedule):
    schedule()
    (made,) = kubeflow.things["recurring_runs"].values()
    made["status"] = "DISABLED"
    screen = io.StringIO()
    assert schedule(screen=screen)["state"] == "unchanged"
    assert screen.getvalue().splitlines()[-1] == "warning: it is paused there"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(LOOK, LOOK + 3))
def test_a_client_killed_while_it_replaces_leaves_what_the_next_one_completes(kubeflow, schedule, monkeypatch, number, when):
    class KilledError(BaseException):
        pass

    schedule()
    request, calls = BoundedRest.request, []

    def until(self, *arguments, **more):
        # The second submit finds experiment, pipeline and version: three calls less before it looks.
        last = len(calls) == number - 3
        calls.append(1)
        if last and when == "before":
            raise KilledError
        answer = request(self, *arguments, **more)
        if last:
            raise KilledError
        return answer

    monkeypatch.setattr(BoundedRest, "request", until)
    with pytest.raises(KilledError):
        schedule("0 4 * * *")
    assert kubeflow.things["recurring_runs"]
    monkeypatch.setattr(BoundedRest, "request", request)
    schedule("0 4 * * *")
    (left,) = kubeflow.things["recurring_runs"].values()
    assert left["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"


@pytest.mark.parametrize("fault", [Fault("lost"), Fault("reset"), Fault(status=503)], ids=lambda fault: fault.kind)
@pytest.mark.parametrize("number", [LOOK, LOOK + 1])
def test_a_fault_of_the_moment_does_not_make_two(kubeflow, schedule, number, fault):
    kubeflow.faults = {number: fault}
    schedule()
    assert len(kubeflow.things["recurring_runs"]) == 1


def test_a_removal_whose_answer_was_lost_is_done(kubeflow, schedule):
    schedule()
    first = len(kubeflow.calls)
    kubeflow.faults = {first + 6: Fault("lost")}
    assert schedule("0 4 * * *")["state"] == "replaced"
    assert kubeflow.calls[first + 6].startswith("DELETE")
    assert len(kubeflow.things["recurring_runs"]) == 1


@pytest.mark.parametrize(("cron", "kubeflows"), [("0 3 * * *", "0 0 3 * * *"), (" */5  *\t1 * mon-fri", "0 */5 * 1 * mon-fri")])
def test_kubeflow_wants_seconds_first(cron, kubeflows):
    assert six_fields(cron) == kubeflows


@pytest.mark.parametrize("cron", ["", "0 3 * *", "0 0 3 * * *", "@daily"])
def test_other_than_five_fields_are_refused(cron):
    with pytest.raises(ConfigError, match=r"five fields: minute, hour, day, month and weekday.*Received:"):
        six_fields(cron)
