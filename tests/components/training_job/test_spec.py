import pytest

from components.training_job.spec import plan
from schemas.config import TrainerConfig
from schemas.errors import ConfigError
from schemas.training_job import TrainingJobConfig
from tests.components.training_job.jobs import IMAGE, ROOT, SERVERS, TWO, make_config, make_spec

FOLDER = "/clickrank/runs/checkpoints/0123"


def test_the_name_is_that_of_the_folder_on_its_claim():
    spec = make_spec(folder=FOLDER)
    assert spec.folder == "clickrank-root/runs/checkpoints/0123"
    assert len(spec.name) == len("clickrank-") + 16
    elsewhere = {"claim": "clickrank-root", "mount_path": "/mnt", "sub_path": "runs"}
    assert make_spec(folder="/mnt/checkpoints/0123", volumes=[elsewhere]).name == spec.name


@pytest.mark.parametrize(
    ("folder", "volume"),
    [
        ("/clickrank/runs/checkpoints/4567", ROOT),
        ("/clickrank/other/checkpoints/0123", ROOT),
        (FOLDER, {**ROOT, "claim": "other"}),
        (FOLDER, {**ROOT, "sub_path": "a"}),
    ],
)
def test_another_folder_is_another_job(folder, volume):
    assert make_spec(folder=folder, volumes=[volume]).name != make_spec(folder=FOLDER).name


@pytest.mark.parametrize(
    "keys", [{"memory_limit": "8Gi"}, {"gpus": 1}, {"kind": "trainjob"}, {"grace_s": 5}, {"namespace": "other"}]
)
def test_what_the_pods_get_is_not_in_the_name(keys):
    assert make_spec(**keys).name == make_spec().name


def test_a_path_lies_on_the_volume_that_is_mounted_nearest():
    inner = {"claim": "inner", "mount_path": "/clickrank/runs"}
    for volumes in ([ROOT, inner], [inner, ROOT]):
        assert make_spec(folder=FOLDER, volumes=volumes).folder == "inner/checkpoints/0123"
    assert make_spec(folder="/clickrank/runs2/c", volumes=[ROOT, inner]).folder == "clickrank-root/runs2/c"


@pytest.mark.parametrize(
    ("trainer", "roles", "members"),
    [
        (TrainerConfig(), (("worker", 1),), ("worker-0",)),
        (TrainerConfig(strategy="mirrored"), (("worker", 1),), ("worker-0",)),
        (TWO, (("worker", 2),), ("worker-0", "worker-1")),
        (SERVERS, (("chief", 1), ("worker", 2), ("ps", 1)), ("chief-0", "worker-0", "worker-1", "ps-0")),
    ],
)
def test_the_pods_follow_from_the_strategy(trainer, roles, members):
    spec = make_spec(trainer)
    assert (spec.roles, spec.members) == (roles, members)
    assert spec.distributed == trainer.is_distributed


def test_gpus_are_for_those_that_compute():
    spec = make_spec(SERVERS, gpus=2)
    assert {role: spec.gpus(role) for role, _ in spec.roles} == {"chief": 0, "worker": 2, "ps": 0}


@pytest.mark.parametrize(
    ("keys", "read", "message"),
    [
        ({"image": None}, (), "no image; set training_job.image"),
        ({"volumes": []}, (), "checkpoints/0123 lies on none of them"),
        ({"volumes": [{"claim": "a", "mount_path": "/click"}]}, (), "lies on none of them"),
        ({}, ("/data/train",), r"training_job.volumes: /data/train lies on none of them, so the pods would not see it"),
        ({"kind": "trainjob", "gpus": 1}, (), "parameter servers, which need none; use a tfjob"),
    ],
)
def test_what_cannot_work_is_refused(keys, read, message):
    with pytest.raises(ConfigError, match=message):
        plan(make_config(**keys), SERVERS, FOLDER, read)


def test_what_is_read_may_be_nothing():
    assert plan(make_config(), TWO, FOLDER, ("/clickrank/a", ""))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image": "team/clickrank:1"}, "training_job.allow_image_tag=true lets it pass"),
        ({"volumes": [ROOT, {**ROOT, "claim": "b"}]}, "two have the same mount_path"),
        ({"kind": "trainjob", "node_selector": {"a": "b"}}, "node_selector of a trainjob stands in its TrainingRuntime"),
        ({"kind": "trainjob", "ttl_s": 5}, "ttl_s of a trainjob"),
        ({"kind": "trainjob", "service_account": "other"}, "service_account of a trainjob"),
        ({"kind": "mpijob"}, "tfjob"),
        ({"run_as_user": 0}, "greater than 0"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        TrainingJobConfig(**{"kind": "tfjob", "image": IMAGE, **keys})


def test_a_tag_passes_if_that_is_wanted():
    assert TrainingJobConfig(image="team/clickrank:1", allow_image_tag=True).image == "team/clickrank:1"
