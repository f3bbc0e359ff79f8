"""Following a run: what is shown, and what is said of each way to end."""

import io
import itertools

import pytest

from pipeline.console import RunConsole
from pipeline.kubeflow.compile import step_name
from pipeline.kubeflow.follow import follow as wait_for
from pipeline.kubeflow.place import prepare, submit_run
from pipeline.kubeflow.submit import submit
from pipeline.nodes import NODES, nodes_for
from schemas.config import Config
from schemas.errors import ClickrankError, TransientError
from tests.pipeline.kubeflow.backend import Fault
from tests.pipeline.kubeflow.script import Script

RUN, LAST = "20260101-120000-a", NODES[-1]
SUBMIT = 9
"""Calls before the first look at the run."""

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def follow(configured, patience, screen):
    return lambda *settings: submit(
        "/data", "/root", configured(*settings), screen, run_id=RUN, wait=True, retries=patience.retries
    )


@pytest.mark.parametrize("pace", [1, 4, 99])
def test_each_node_is_shown_once_as_it_ends(kubeflow, follow, screen, patience, pace):
    kubeflow.script = Script(pace=pace)
    assert follow()["state"] == "SUCCEEDED"
    lines = screen.getvalue().splitlines()
    shown = [line.split() for line in lines[1:-1]]
    assert sorted(words[1] for words in shown) == sorted(nodes_for(Config()))
    assert [(words[0], words[2:]) for words in shown] == [(f"{n + 1}/13", ["30.0", "s"]) for n in range(13)]
    assert [words[1] for words in shown][-1] == LAST
    assert lines[-1].startswith(f"Run {RUN} succeeded: {kubeflow.address}/#/runs/details/")
    assert set(patience.slept) == {10.0}


def test_the_bar_is_not_begun_anew_while_the_same_node_works(kubeflow, configured, patience, screen, monkeypatch):
    begun, clock = [], itertools.count()
    monkeypatch.setattr(RunConsole, "working", lambda self, what: begun.append(what))
    kubeflow.script = Script(pace=0)
    place = prepare(configured("kubeflow.api.wait_s=5"), patience.retries)
    run = submit_run(place, RUN, {"data": "/data", "root": "/root"})
    with pytest.raises(TransientError, match=f"^waited 5 s for run {RUN}, which goes on"):
        wait_for(place, run, nodes_for(Config()), RunConsole(screen, 13), clock=lambda: next(clock))
    assert len(patience.slept) == 5
    assert begun == ["running: ClickExampleGen"]


def test_a_run_that_is_there_is_followed_from_where_it_is(kubeflow, follow, screen):
    follow()
    first = screen.getvalue()
    follow()
    assert len(kubeflow.things["runs"]) == 1
    assert screen.getvalue()[len(first) :].replace("is there already", "submitted") == first


def test_a_failed_step_is_named_with_the_last_lines_that_kubeflow_gives(kubeflow, follow, screen):
    log = "\n".join(
        ["noise"] * 20 + ["Epoch 3", "error: no space left on the disk", "clickrank node Trainer ended with exit code 75"]
    )
    kubeflow.script = Script(fails="trainer", message=log)
    with pytest.raises(ClickrankError, match=rf"^run {RUN} failed at Trainer: {kubeflow.address}/#/runs/details/") as caught:
        follow()
    assert caught.value.exit_code == 1
    lines = screen.getvalue().splitlines()
    told = lines.index("Trainer, the end of its log; all of it by kubectl logs clickrank-x-trainer-impl --container main:")
    assert lines[told - 1].endswith("s  failed")
    assert lines[told + 1 :] == [f"  {line}" for line in log.splitlines()[-10:]]


def test_a_step_that_fails_and_is_tried_again_is_shown_twice(kubeflow, follow, screen):
    kubeflow.script = Script(stumbles="trainer", pace=1)
    assert follow()["state"] == "SUCCEEDED"
    shown = [line.split() for line in screen.getvalue().splitlines() if " Trainer " in line]
    assert [words[4:] for words in shown] == [["failed"], []]
    assert shown[0][0] == shown[1][0]


def test_steps_that_never_began_are_not_shown(kubeflow, follow, screen):
    kubeflow.script = Script(fails="transform")
    with pytest.raises(ClickrankError):
        follow()
    assert " Evaluator " not in screen.getvalue()


# Where it has one namespace only, that of the configuration is not where the pods are.
@pytest.mark.parametrize(("several", "where"), [(True, " --namespace team"), (False, "")])
def test_a_failed_step_of_which_kubeflow_gives_no_log_is_named_too(kubeflow, follow, screen, several, where):
    kubeflow.script, kubeflow.several = Script(fails="transform"), several
    with pytest.raises(ClickrankError, match=f"^run {RUN} failed at Transform: http"):
        follow("kubeflow.api.namespace=team")
    assert screen.getvalue().splitlines()[-1] == (
        "Transform: this Kubeflow gives no log of it; see its page, or kubectl logs clickrank-x-transform-impl --container main"
        f"{where}"
    )


def test_a_step_whose_pod_could_not_be_prepared_has_failed(kubeflow, follow, screen):
    kubeflow.script = Script(fails="trainer-driver", message="no such secret")
    with pytest.raises(ClickrankError, match=f"^run {RUN} failed at Trainer: http"):
        follow()
    assert screen.getvalue().splitlines()[-1] == "  no such secret"


@pytest.mark.parametrize(
    "message",
    [
        "NOT BLESSED\nclickrank node Pusher ended with exit code 4\nfailed to execute component: exit status 4",
        "Error (exit code 1): F0101 main.go:97] failed to execute component: exit status 4",
        "main: Error (exit code 4)",
    ],
)
def test_a_refused_model_is_no_failure_but_told(kubeflow, follow, screen, message):
    kubeflow.script = Script(fails=step_name(LAST), message=message)
    result = follow()
    assert (result["state"], result["refused"]) == ("FAILED", True)
    assert screen.getvalue().splitlines()[-1].startswith("Nothing was pushed: the model was refused")


@pytest.mark.parametrize(
    ("step", "message", "said"),
    [
        (step_name(LAST), "exit status 1", "Pusher; a model that is refused fails it, too: its log says so: http"),
        (step_name(LAST), "exit status 42", "Pusher; a model that is refused"),
        (step_name(LAST), "", "Pusher; a model that is refused"),
        ("gate", "exit status 4", "Gate: http"),
    ],
)
def test_what_is_not_known_to_be_a_refusal_is_a_failure(kubeflow, follow, step, message, said):
    kubeflow.script = Script(fails=step, message=message)
    with pytest.raises(ClickrankError, match=f"^run {RUN} failed at {said}"):
        follow()


def test_a_run_that_was_cancelled_or_failed_without_a_step_is_told(kubeflow, follow, monkeypatch):
    kubeflow.script = Script(state="CANCELED")
    with pytest.raises(ClickrankError, match=f"^run {RUN} was cancelled: http"):
        follow()
    look = kubeflow.run_service_get_run
    ended = {"state": "FAILED", "error": {"code": 9, "message": "quota\nexceeded"}}
    monkeypatch.setattr(kubeflow, "run_service_get_run", lambda **what: {**look(**what), **ended, "run_details": {}})
    with pytest.raises(ClickrankError, match=f"^run {RUN} failed: quota exceeded; Kubeflow names no step that did: http"):
        follow()


def test_a_run_that_takes_too_long_is_left_to_itself(kubeflow, follow):
    kubeflow.script = Script(pace=0)
    # No time passes in this test but that of the calls.
    with pytest.raises(
        TransientError, match=f"^waited 1 s for run {RUN}, which goes on: http.*; the same command with --run-id {RUN}"
    ):
        follow("kubeflow.api.wait_s=1")


def test_faults_of_the_moment_do_not_end_the_waiting(kubeflow, follow, patience):
    kubeflow.faults = {SUBMIT: Fault(status=503), SUBMIT + 2: Fault("reset"), SUBMIT + 3: Fault(status=429)}
    assert follow()["state"] == "SUCCEEDED"
    assert len(patience.said) == 3


def test_a_server_that_stays_away_leaves_the_run_to_itself(kubeflow, follow):
    kubeflow.faults = dict.fromkeys(range(SUBMIT + 1, SUBMIT + 99), Fault(status=503))
    with pytest.raises(
        TransientError, match=rf"\(503: not ready\).*; 3 tries; the run goes on: http.*--run-id {RUN} goes on from there"
    ):
        follow()
