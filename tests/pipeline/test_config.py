import pytest

from pipeline.config import load_config, to_yaml
from schemas.config import Config
from schemas.errors import ConfigError


def test_defaults_are_those_in_code():
    assert load_config() == Config()


def test_files_then_settings_win_key_by_key(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("trainer: {num_epochs: 3, seed: 1}\nmodel: {dropout: 0.5}\n")
    second.write_text("trainer:\n  seed: 2\n")
    config = load_config([first, second], ["model.hidden_units=[8, 4]", "trainer.deep_optimizer.learning_rate=0.5"])
    assert (config.trainer.num_epochs, config.trainer.seed) == (3, 2)
    assert (config.model.dropout, config.model.hidden_units) == (0.5, (8, 4))
    assert (config.trainer.deep_optimizer.name, config.trainer.deep_optimizer.learning_rate) == ("adam", 0.5)


def test_the_resolved_configuration_reads_back(tmp_path):
    config = load_config((), ["split.eval_days=[]", "split.eval_fraction=0.2", "push.directory=/srv/models"])
    (tmp_path / "config.resolved.yaml").write_text(to_yaml(config))
    assert load_config([tmp_path / "config.resolved.yaml"]) == config


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainer.epochs=3", "unknown config key trainer.epochs; did you mean trainer.num_epochs?"),
        ("modle.dropout=1", "unknown config key modle; did you mean model?"),
        ("zzz=1", "unknown config key zzz; `clickrank config show` lists all keys"),
        ("trainer.wide_optimizer.l3=1", "unknown config key trainer.wide_optimizer.l3; did you mean trainer.wide_optimizer.l2?"),
        (
            "trainer.num_epochs=x",
            "trainer.num_epochs: input should be a valid integer, unable to parse string as an integer. Received: 'x'",
        ),
        ("trainer.workers=2", "trainer: workers is 2, but strategy 'none' is one process; set trainer.strategy=multi_worker"),
        ("trainer.parameter_servers=2", "trainer: parameter_servers is set, but strategy 'none' has none"),
        (
            "trainer={strategy: parameter_server, precision: float16}",
            "trainer: parameter_server: TensorFlow cannot scale the loss for float16 there; set precision=bfloat16",
        ),
        (
            "trainer={strategy: parameter_server, jit_compile: true}",
            "trainer: parameter_server: XLA compiles no layer with variables in another process; set jit_compile=false",
        ),
        ("encoding.drop=[foo]", "encoding: not in the feature table: foo"),
        ("trainer.deep_optimizer={name: adam, l1: 1}", "trainer.deep_optimizer: adam has no l1; it is for ftrl"),
        (
            "trainer.deep_optimizer.schedule={kind: exponential, decay_rate: 0.5}",
            "trainer.deep_optimizer.schedule: exponential needs decay_steps or decay_epochs",
        ),
        (
            "model={kind: wide, batch_norm: true}",
            "model: batch_norm is set, but kind 'wide' does not use it; these do: custom, deep, dnn, gam, wide_deep",
        ),
        (
            "model.gam_hidden_units=[8]",
            "model: gam_hidden_units is set, but kind 'wide_deep' does not use it; these do: custom, gam",
        ),
        ("model.custom='os:system'", "model: custom is set, but kind 'wide_deep' does not use it; these do: custom"),
        ("model={kind: custom}", "model: kind 'custom' needs model.custom, package.module:function"),
        ("model={kind: custom, custom: 'os:system'}", "model: custom: 'os:system' is in none of allowed_packages"),
        ("split={eval_days: []}", "split: eval_days is empty and eval_fraction is 0: no display would be evaluated on"),
        (
            "beam={runner: portable, job_endpoint: 'a:1', parallelism: 2}",
            "beam: portable has no parallelism; it is for flink",
        ),
        ("beam.job_endpoint='a:1'", "beam: local has no job_endpoint; it is for portable"),
        ("beam={runner: portable, job_endpoint: 'a:1', workers: 2}", "beam: portable has no workers; it is for local, flink"),
        ("beam.runner=portable", "beam: runner portable needs job_endpoint"),
        ("beam={runner: flink, flink_master: 'a:1'}", "beam: runner flink needs job_server_jar"),
        ("beam={runner: dataflow, project: p, region: r, temp_location: 'gs://b'}", "beam: runner dataflow needs sdk_image"),
        ("beam={workers: 2, threads: 2}", "beam: workers and threads exclude each other"),
        (
            "beam={runner: flink, flink_master: 'a:1', job_server_jar: /j.jar, artifacts_dir: /a}",
            "beam: run_job_server and artifacts_dir need each other",
        ),
        ("trainer.seed", "--set expects path.to.key=VALUE. Received: 'trainer.seed'"),
    ],
)
def test_what_cannot_work_is_named(setting, message):
    with pytest.raises(ConfigError) as error:
        load_config((), [setting])
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object:os.system {}", "could not determine a constructor for the tag"),
        ("trainer: &x {seed: 1}\nmodel: *x", "aliases are not allowed"),
        ("trainer: {seed: 1, seed: 2}", "key 'seed' is there twice"),
        ("[1, 2]", "expected sections of keys. Received: list"),
        ("a: [", "while parsing"),
    ],
)
def test_yaml_that_has_no_place_in_a_configuration_is_refused(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config([tmp_path / "c.yaml"])
    assert message in str(error.value)
    assert "c.yaml" in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read"):
        load_config([tmp_path / "none.yaml"])


def test_the_configurations_that_ship_load():
    from pathlib import Path

    files = sorted((Path(__file__).parent.parent.parent / "configs").glob("*.yaml"))
    assert files
    for file in files:
        load_config([file])


def test_a_password_in_an_address_is_not_shown():
    with pytest.raises(ConfigError, match=r"kubeflow.api.endpoint: .* Received: 'https://\*\*\*@host/a'$") as caught:
        load_config((), ["kubeflow.api.endpoint=https://user:secret@host/a"])
    assert "secret" not in str(caught.value)
