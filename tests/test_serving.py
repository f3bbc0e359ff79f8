"""A server that polls the pushed folder, and a client of its REST interface. The server is a stand-in: `tests.serving_stand_in`."""

import base64
import json
import threading
import urllib.error
import urllib.request
from itertools import pairwise

import pytest

from components.pusher import versions
from components.pusher.versions import push, rollback
from schemas import serving
from tests.components.saved_models import pop_ad_id, save_contract
from tests.rows import random_rows
from tests.serving_stand_in import StandIn
from transforms.examples import encode

WEIGHTS = {"a": 0.25, "b": 0.5, "c": 1.0}


@pytest.fixture
def models(tmp_path):
    """Models a, b, c, whose scores are WEIGHTS * pop_ad_id."""
    return {name: save_contract(tmp_path / name, lambda e, w=w: pop_ad_id(e) * w) for name, w in WEIGHTS.items()}


def ask(url, body=None):
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def instances(examples):
    return [{"b64": base64.b64encode(example).decode()} for example in examples]


def test_a_client_of_the_rest_interface(models, tmp_path):
    rows = random_rows(3, missing=0.0)
    examples = encode(rows)
    pop = rows["pop_ad_id"].to_numpy()
    version = push(models["b"], tmp_path / "serving")
    with StandIn(tmp_path / "serving", "clickrank").running() as server:
        url = f"http://127.0.0.1:{server.port}/v1/models/clickrank"
        status, answer = ask(url)
        assert status == 200
        assert answer["model_version_status"][0]["version"] == str(version.number)
        assert answer["model_version_status"][0]["state"] == "AVAILABLE"
        status, answer = ask(f"{url}:predict", {"instances": instances(examples)})
        assert status == 200
        assert answer["predictions"] == pytest.approx((0.5 * pop).tolist(), rel=1e-6)
        size = rows["ads_per_display"][0].as_py()
        body = {"signature_name": serving.RANK_DISPLAY.name, "instances": instances(examples[:size])}
        status, answer = ask(f"{url}:predict", body)
        assert status == 200
        assert [set(row) for row in answer["predictions"]] == [{"score", "rank"}] * size
        best = min(answer["predictions"], key=lambda row: row["rank"])
        assert best["score"] == pytest.approx(0.5 * pop[:size].max(), rel=1e-6)
        assert ask(f"{url}:predict", {"signature_name": "gone", "instances": []})[0] == 400
        assert ask(url.replace("clickrank", "other"))[0] == 404


def test_a_client_never_sees_a_version_that_is_not_whole(models, tmp_path):
    """Push, rollback and push while a client asks as fast as it can, and the server loads what appears at once."""
    base = tmp_path / "serving"
    expected = [push(models["a"], base).number]
    (example,) = encode(random_rows(2, missing=0.0))[:1]
    answers, done = [], threading.Event()
    with StandIn(base, "clickrank").running() as server:
        url = f"http://127.0.0.1:{server.port}/v1/models/clickrank:predict"
        unit = ask(url, {"instances": instances([example])})[1]["predictions"][0] / WEIGHTS["a"]

        def client():
            while not done.is_set():
                answers.append(ask(url, {"instances": instances([example])}))

        asking = threading.Thread(target=client)
        asking.start()
        try:
            for step in (
                lambda: push(models["b"], base),
                lambda: rollback(base),
                lambda: push(models["c"], base),
                lambda: rollback(base, expected[1]),
            ):
                expected.append(step().number)
                wait_for(lambda: server.loaded[-1] == expected[-1])
                before = len(answers)
                wait_for(lambda before=before: len(answers) > before + 3)
        finally:
            done.set()
            asking.join()
    assert server.failed == []
    assert server.loaded == expected == versions.versions(base)
    assert {status for status, _ in answers} == {200}
    seen = [round(answer["predictions"][0] / unit, 3) for _, answer in answers]
    changes = [seen[0], *(now for was, now in pairwise(seen) if was != now)]
    assert changes == [WEIGHTS[name] for name in ("a", "b", "a", "c", "b")]


def wait_for(condition):
    waiting = threading.Event()
    for _ in range(6000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("timed out")


def test_the_stand_in_would_notice_a_version_that_is_copied_into_place(models, tmp_path):
    """What the test above would see of a push that is not atomic."""
    base = tmp_path / "serving"
    push(models["a"], base)
    (base / "99999999999").mkdir()
    server = StandIn(base, "clickrank")
    server.poll()
    assert [number for number, _ in server.failed] == [99999999999]
    assert server.loaded == []
