"""Submitting: there is one of each thing, whatever happens on the way, and nothing of who asks goes astray."""

import io
import json
import logging
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.kubeflow.errors import TOKEN_VARIABLE
from pipeline.kubeflow.rest import BoundedRest
from pipeline.kubeflow.submit import submit
from schemas import interrupts
from schemas.errors import ConfigError, RemoteError, TransientError
from tests.pipeline.kubeflow.backend import Fault

RUN = "20260101-120000-a"
CALLS = [
    "GET healthz",
    "GET experiments",
    "POST experiments",
    "GET pipelines",
    "POST pipelines",
    "GET versions",
    "POST upload_version",
    "GET runs",
    "POST runs",
]
"""What the first submit to an empty Kubeflow does, in order."""
MADE = [number for number, call in enumerate(CALLS) if call.startswith("POST")]
ONE_OF_EACH = {"experiments": 1, "pipelines": 1, "versions": 1, "runs": 1, "recurring_runs": 0}

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def go(configured, patience):
    """Submits the run, and returns the result and the screen."""

    def do(*keys, **more):
        screen = io.StringIO()
        arguments = {"run_id": RUN, **more} if "name" not in more and "cron" not in more else more
        arguments = {"data": "/data", "root": "/root", "retries": patience.retries, **arguments}
        result = submit(config=configured(*keys), screen=screen, **arguments)
        return result, screen.getvalue()

    return do


def counts(kubeflow):
    return {kind: len(found) for kind, found in kubeflow.things.items()}


def short(call):
    method, path = call.split()
    return f"{method} {path.rsplit('/', 1)[1]}"


def test_a_submit_makes_what_is_not_there_and_tells_where_the_run_is(kubeflow, go):
    result, screen = go()
    (run,) = kubeflow.things["runs"].values()
    assert [short(call) for call in kubeflow.calls] == CALLS
    assert counts(kubeflow) == ONE_OF_EACH
    assert run["display_name"] == RUN
    assert run["service_account"] == "clickrank-pipeline"
    assert run["runtime_config"]["parameters"] == {"data": "/data", "root": "/root", "run_id": RUN, "overrides": []}
    url = f"{kubeflow.address}/#/runs/details/{run['run_id']}"
    assert screen == f"Run {RUN} submitted: {url}\n"
    assert result == {
        "name": RUN,
        "run_id": RUN,
        "kubeflow_id": run["run_id"],
        "url": url,
        "experiment": "clickrank",
        "version": kubeflow.names("versions")[0],
        "state": "created",
        "refused": False,
    }


def test_the_same_again_makes_nothing(kubeflow, go):
    first, _ = go()
    again, screen = go()
    assert again == first | {"state": "there"}
    assert screen == f"Run {RUN} is there already: {first['url']}\n"
    assert [short(call) for call in kubeflow.calls[len(CALLS) :]] == [call for call in CALLS if call.startswith("GET")]


@pytest.mark.parametrize("change", [{"keys": ["trainer.seed=9"]}, {"data": "/other"}, {"root": "/other"}], ids=str)
def test_a_run_of_that_name_with_another_configuration_is_none_of_ours(kubeflow, go, change):
    first, _ = go()
    with pytest.raises(ConfigError, match=f"^run {RUN} is in the experiment already, with another configuration .*{first['url']}"):
        go(*change.pop("keys", []), **change)
    assert counts(kubeflow)["runs"] == 1


def test_another_run_shares_all_but_the_run(kubeflow, go):
    go()
    go(run_id="20260102-120000-b")
    assert counts(kubeflow) == ONE_OF_EACH | {"runs": 2}


def test_another_configuration_is_another_version_named_by_its_content(kubeflow, go):
    versions = [
        go(f"trainer.seed={seed}", run_id=f"20260101-120000-{number}")[0]["version"] for number, seed in enumerate((1, 2, 1))
    ]
    assert versions[0] == versions[2] != versions[1]
    assert counts(kubeflow) == ONE_OF_EACH | {"versions": 2, "runs": 3}
    used = [run["pipeline_version_reference"]["pipeline_version_id"] for run in kubeflow.things["runs"].values()]
    assert used[0] == used[2] != used[1]


def test_what_is_looked_for_is_found_on_a_later_page(kubeflow, go):
    kubeflow.page = 1
    for number in range(3):
        go(f"trainer.seed={number}", f"kubeflow.api.experiment=e{number}", run_id=f"20260101-12000{number}-a")
    go("trainer.seed=2", "kubeflow.api.experiment=e2", run_id="20260101-120002-a")
    assert counts(kubeflow) == {"experiments": 3, "pipelines": 1, "versions": 3, "runs": 3, "recurring_runs": 0}


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(len(CALLS)), ids=CALLS)
def test_a_client_killed_at_any_call_leaves_what_the_next_one_completes(kubeflow, go, monkeypatch, number, when):
    request, calls = BoundedRest.request, []

    def until(self, *arguments, **more):
        calls.append(1)
        if len(calls) == number + 1 and when == "before":
            raise Killed
        answer = request(self, *arguments, **more)
        if len(calls) == number + 1:
            raise Killed
        return answer

    monkeypatch.setattr(BoundedRest, "request", until)
    with pytest.raises(Killed):
        go()
    assert (sum(counts(kubeflow).values()) == 4) == (number == len(CALLS) - 1 and when == "after")
    monkeypatch.setattr(BoundedRest, "request", request)
    result, _ = go()
    assert counts(kubeflow) == ONE_OF_EACH
    assert result["state"] == ("there" if number == len(CALLS) - 1 and when == "after" else "created")


@pytest.mark.parametrize("number", range(len(CALLS)), ids=CALLS)
@pytest.mark.parametrize(
    "fault",
    [Fault(status=429), Fault(status=502), Fault(status=503), Fault(status=504), Fault("reset"), Fault("lost")],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_a_fault_of_the_moment_at_any_call_goes_unnoticed_but_for_a_warning(kubeflow, go, patience, number, fault):
    kubeflow.faults = {number: fault}
    result, _ = go()
    assert counts(kubeflow) == ONE_OF_EACH
    assert result["kubeflow_id"] in kubeflow.things["runs"]
    assert len(patience.said) == 1


@pytest.mark.parametrize("number", MADE, ids=lambda number: CALLS[number])
def test_what_is_made_is_looked_up_before_every_try(kubeflow, go, number):
    kubeflow.faults = {number: Fault(status=503), number + 2: Fault(status=503)}
    go()
    look, make = CALLS[number - 1 : number + 1]
    assert [short(call) for call in kubeflow.calls[number - 1 : number + 5]] == [look, make] * 3
    assert counts(kubeflow) == ONE_OF_EACH


@pytest.mark.parametrize("number", MADE, ids=lambda number: CALLS[number])
def test_an_answer_that_was_lost_is_found_and_not_made_again(kubeflow, go, number):
    kubeflow.faults = {number: Fault("lost")}
    go()
    assert [short(call) for call in kubeflow.calls].count(CALLS[number]) == 1


@pytest.mark.parametrize("number", range(len(CALLS)), ids=CALLS)
def test_a_call_that_gets_no_answer_is_not_repeated_and_the_message_says_how_to_go_on(kubeflow, go, number):
    kubeflow.faults = {number: Fault("slow", seconds=1.3)}
    with pytest.raises(TransientError, match=f"no answer within 1 s; the same command with --run-id {RUN} goes on from there$"):
        go("kubeflow.api.timeout_s=1")
    assert len(kubeflow.calls) == number + 1


def test_what_somebody_else_made_in_between_is_taken(kubeflow, go, monkeypatch):
    listing = kubeflow.pipeline_service_list_pipelines
    monkeypatch.setattr(kubeflow, "pipeline_service_list_pipelines", lambda query, body: {**listing(query, body), "pipelines": []})
    go()
    with pytest.raises(RemoteError, match=r"has something else of that name \(409\): clickrank already exists"):
        go()
    shown = iter([False, True])
    monkeypatch.setattr(
        kubeflow,
        "pipeline_service_list_pipelines",
        lambda query, body: listing(query, body) if next(shown) else {"pipelines": []},
    )
    assert go(run_id="20260102-120000-b")[0]["state"] == "created"
    assert counts(kubeflow)["pipelines"] == 1


def test_a_server_that_serves_several_namespaces_is_told_which(kubeflow, go):
    kubeflow.several = True
    with pytest.raises(ConfigError, match="serves several namespaces: give --namespace"):
        go()
    go("kubeflow.api.namespace=team")
    assert {one["namespace"] for kind in ("experiments", "pipelines") for one in kubeflow.things[kind].values()} == {"team"}


def test_a_server_of_a_single_namespace_is_not_told_any_but_we_are(kubeflow, go, patience):
    go("kubeflow.api.namespace=team")
    assert counts(kubeflow) == ONE_OF_EACH
    assert patience.said == ["this Kubeflow has one namespace only: the pods are in that, not in team"]


def test_an_experiment_that_is_archived_and_two_runs_of_one_name_are_told(kubeflow, go):
    go()
    (run,) = kubeflow.things["runs"].values()
    kubeflow.things["runs"]["other"] = {**run, "run_id": "other"}
    with pytest.raises(RemoteError, match=f"there are 2 of the run '{RUN}'; remove all but one there"):
        go()
    next(iter(kubeflow.things["experiments"].values()))["storage_state"] = "ARCHIVED"
    with pytest.raises(
        RemoteError, match="the experiment 'clickrank' is archived there; restore it, or give another by --experiment"
    ):
        go()


def test_a_run_with_a_name_of_its_own_leaves_its_id_to_the_steps(kubeflow, go):
    for _ in range(2):
        result, _ = go(name="clickrank-submit-29400000")
    (run,) = kubeflow.things["runs"].values()
    assert run["display_name"] == result["name"] == "clickrank-submit-29400000"
    assert run["runtime_config"]["parameters"]["run_id"] == ""
    assert result["run_id"] is None


def test_a_run_without_a_name_gets_a_new_id(kubeflow, configured, patience):
    for _ in range(2):
        submit("/data", "/root", configured(), io.StringIO(), retries=patience.retries)
    names = kubeflow.names("runs")
    assert len(set(names)) == 2
    assert all(run["runtime_config"]["parameters"]["run_id"] == run["display_name"] for run in kubeflow.things["runs"].values())


def test_the_links_may_lead_elsewhere_than_to_the_api(kubeflow, go):
    assert go("kubeflow.api.ui=https://pages.example/pipeline/")[0]["url"].startswith(
        "https://pages.example/pipeline/#/runs/details/"
    )


def test_json_of_something_else_is_told(kubeflow, go):
    kubeflow.always = Fault()
    with pytest.raises(RemoteError, match=r"an answer has no experiment_id; is it Kubeflow Pipelines 2\?"):
        go()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "data"}, "DATA is a folder as a pod sees it, a path that begins with /. Received: data"),
        ({"root": "./runs"}, "--root is a folder as a pod sees it"),
        ({"run_id": "today"}, "--run-id is YYYYMMDD-HHMMSS-NAME"),
        ({"run_id": RUN, "name": "a"}, "--name is a name, in place of --run-id"),
        ({"name": " "}, "--name is a name"),
        ({"cron": "0 3 * * *", "run_id": RUN}, "--cron makes runs with ids of their own"),
        ({"cron": "0 3 * * *", "wait": True}, "it goes with neither --run-id nor --wait"),
        ({"cron": "@daily"}, "--cron has five fields"),
        ({"cron": "0 0 3 * * *"}, "--cron has five fields"),
    ],
)
def test_what_cannot_work_is_refused_before_any_call(kubeflow, configured, arguments, message):
    with pytest.raises(ConfigError, match=message):
        submit(**{"data": "/data", "root": "/root", "config": configured(), "screen": io.StringIO(), **arguments})
    assert kubeflow.calls == []


def test_there_is_no_address_by_default(configured):
    with pytest.raises(ConfigError, match=r"no address of Kubeflow Pipelines: give --endpoint, or set kubeflow\.api\.endpoint"):
        submit("/data", "/root", configured("kubeflow.api.endpoint=null"), io.StringIO())


SECRET = "hush-hush-4711"


@pytest.fixture
def everything(kubeflow, go, caplog, capfd):
    """All that anybody sees of a submit: result, screen, log, standard streams, what the server keeps."""
    caplog.set_level(logging.DEBUG)

    def do(*keys, **more):
        seen = []
        try:
            seen += go(*keys, **more)
        except (ConfigError, RemoteError, TransientError) as error:
            seen.append(repr(error) + repr(error.__cause__) + repr(error.__context__))
        streams = capfd.readouterr()
        return json.dumps([seen, caplog.text, streams.out, streams.err, kubeflow.things, kubeflow.specs, kubeflow.calls])

    return do


@pytest.mark.parametrize("fault", [None, Fault(status=401), Fault(status=503), Fault("html"), Fault("reset")])
def test_a_token_goes_to_the_server_and_nowhere_else(kubeflow, everything, monkeypatch, fault):
    monkeypatch.setenv(TOKEN_VARIABLE, f"{SECRET}\n")
    kubeflow.token, kubeflow.always = SECRET, fault
    seen = everything()
    assert (counts(kubeflow) == ONE_OF_EACH) == (fault is None)
    assert {headers["authorization"] for headers in kubeflow.headers} == {f"Bearer {SECRET}"}
    assert SECRET not in seen


def test_a_mounted_token_is_read_anew_for_each_call(kubeflow, everything, monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{SECRET}-1")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    listing = kubeflow.experiment_service_list_experiments

    def rotate(query, body):
        file.write_text(f"{SECRET}-2")
        return listing(query, body)

    monkeypatch.setattr(kubeflow, "experiment_service_list_experiments", rotate)
    seen = everything()
    assert [headers["authorization"] for headers in kubeflow.headers][1:3] == [f"Bearer {SECRET}-1", f"Bearer {SECRET}-2"]
    assert SECRET not in seen


def test_the_variable_wins_over_the_mounted_token_and_without_both_nothing_is_sent(kubeflow, go, monkeypatch, tmp_path):
    go()
    assert all("authorization" not in headers for headers in kubeflow.headers)
    (tmp_path / "no-token").write_text("mounted")
    go()
    assert kubeflow.headers[-1]["authorization"] == "Bearer mounted"
    monkeypatch.setenv(TOKEN_VARIABLE, "given")
    go()
    assert kubeflow.headers[-1]["authorization"] == "Bearer given"


@pytest.mark.parametrize("token", [f"{SECRET}\nbreak", f"{SECRET}ö"])
@pytest.mark.parametrize("mounted", [True, False])
def test_what_cannot_be_a_token_is_refused_without_being_shown(kubeflow, everything, monkeypatch, tmp_path, token, mounted):
    if mounted:
        (tmp_path / "no-token").write_text(token)
    else:
        monkeypatch.setenv(TOKEN_VARIABLE, token)
    # Kubeflow asks without a token whether it is well.
    kubeflow.several = True
    seen = everything("kubeflow.api.namespace=team")
    assert "the token has characters that none has" in seen
    assert SECRET not in seen
    assert not any("authorization" in headers for headers in kubeflow.headers)


def test_what_was_done_here_before_plays_no_part(kubeflow, go, monkeypatch, tmp_path):
    from kfp import client

    context = tmp_path / "context.json"
    context.write_text('{"namespace": "other", "client_authentication_cookie": "c=1"}')
    monkeypatch.setattr(client.Client, "_LOCAL_KFP_CONTEXT", str(context))
    for variable in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID", "KF_PIPELINES_DEFAULT_EXPERIMENT_NAME"):
        monkeypatch.setenv(variable, "http://elsewhere.invalid")
    go()
    assert counts(kubeflow) == ONE_OF_EACH
    assert all("cookie" not in headers for headers in kubeflow.headers)
    assert [path.name for path in tmp_path.iterdir()] == ["context.json"]


def test_a_mounted_token_that_cannot_be_read_is_told(kubeflow, go, tmp_path, monkeypatch):
    (tmp_path / "no-token").write_text(SECRET)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match=r"the service account's token cannot be read\. Received: .*no-token"):
        go()


MOMENTARY = st.sampled_from([Fault(status=status) for status in (429, 502, 503, 504)] + [Fault("reset"), Fault("lost")])


@given(faults=st.dictionaries(st.integers(0, 40), MOMENTARY, max_size=25), again=st.booleans())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_goes_wrong_for_the_moment_there_is_one_of_each(kubeflow, go, patience, faults, again):
    """All examples share a server, which is emptied."""
    for found in (kubeflow.calls, kubeflow.headers, kubeflow.specs, *kubeflow.things.values()):
        found.clear()
    kubeflow.faults = faults
    object.__setattr__(patience.retries, "limit", 40)
    states = [go()[0]["state"] for _ in range(1 + again)]
    assert counts(kubeflow) == ONE_OF_EACH
    assert states[1:] == ["there"] * again


def test_who_stops_it_is_told_how_to_go_on(kubeflow, go):
    kubeflow.always = Fault(status=403)
    with pytest.raises(RemoteError):
        go()
    assert interrupts.last_words() == f"the same command with --run-id {RUN} goes on from there"
