import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.trainer.launch import ROOT
from components.trainer.model import build_model
from components.trainer.saved_variables import Source, Spec, read_variables
from components.trainer.variable_map import parse_variable_map
from components.trainer.warm_start import apply, named_variables, plan, report, warm_start
from schemas.config import ModelConfig, TrainerConfig
from schemas.errors import ConfigError, InputDataError
from tests.components.trainer.test_model import FEATURES


def spec(*shape, dtype="float32"):
    return Spec(shape, dtype)


def saved(**variables):
    """A source that is never read."""
    return Source("there", variables, lambda name: pytest.fail(f"{name} was read"))


def planned(variables, source, lines="", *, strict=True, reshape=False):
    return report(plan(variables, source, parse_variable_map(lines), strict=strict, reshape=reshape))


def nothing_but(**lists):
    empty = {name: [] for name in ("restored", "renamed", "reshaped", "fresh", "skipped", "unused")}
    return {"source": "there", **empty, **lists}


def test_equal_variables_are_restored():
    assert planned({"a": spec(2), "b": spec()}, saved(b=spec(), a=spec(2))) == nothing_but(restored=["a", "b"])


def test_a_rule_goes_before_the_same_name():
    same = {"a": spec(2), "b": spec(2), "c": spec(2)}
    expected = nothing_but(restored=["c"], renamed=[{"new": "a", "old": "b"}, {"new": "b", "old": "a"}])
    assert planned(same, saved(**same), "a b\nb a") == expected


def test_one_saved_variable_may_start_several():
    expected = nothing_but(restored=["a"], renamed=[{"new": "b", "old": "a"}])
    assert planned({"a": spec(2), "b": spec(2)}, saved(a=spec(2)), "b a") == expected


def test_a_regex_renames_what_it_matches():
    model = {"net/deep/ad": spec(2), "net/deep/user": spec(3), "net/bias": spec()}
    source = saved(**{"deep.ad": spec(2), "deep.user": spec(3), "net/bias": spec()})
    renamed = [{"new": "net/deep/ad", "old": "deep.ad"}, {"new": "net/deep/user", "old": "deep.user"}]
    assert planned(model, source, r"re:net/(\w+)/(\w+) \1.\2") == nothing_but(restored=["net/bias"], renamed=renamed)


def test_what_does_not_fit_is_skipped_if_not_strict():
    model = {"a": spec(2), "b": spec(3, 4), "c": spec(3, 4), "d": spec(2), "new": spec(1)}
    source = saved(a=spec(2), b=spec(5, 4), c=spec(3, 5), d=spec(2, dtype="int64"), old=spec(1))
    assert planned(model, source, strict=False) == nothing_but(
        restored=["a"],
        fresh=["new"],
        skipped=[
            {"name": "b", "old": "b", "old_shape": [5, 4], "new_shape": [3, 4]},
            {"name": "c", "old": "c", "old_shape": [3, 5], "new_shape": [3, 4]},
            {"name": "d", "old": "d", "old_shape": [2], "new_shape": [2]},
        ],
        unused=["old"],
    )


def test_only_another_number_of_rows_can_be_reshaped():
    model = {"a": spec(6, 4), "b": spec(3, 4), "c": spec(3, 4), "d": spec(3), "e": spec(), "f": spec(3)}
    source = saved(a=spec(5, 4), x=spec(5, 4), c=spec(3, 5), d=spec(4, dtype="int32"), e=spec(1), f=spec(4))
    found = planned(model, source, "b x", strict=False, reshape=True)
    assert found == nothing_but(
        reshaped=[
            {"name": "a", "old": "a", "old_shape": [5, 4], "new_shape": [6, 4]},
            {"name": "b", "old": "x", "old_shape": [5, 4], "new_shape": [3, 4]},
            {"name": "f", "old": "f", "old_shape": [4], "new_shape": [3]},
        ],
        skipped=[
            {"name": "c", "old": "c", "old_shape": [3, 5], "new_shape": [3, 4]},
            {"name": "d", "old": "d", "old_shape": [4], "new_shape": [3]},
            {"name": "e", "old": "e", "old_shape": [1], "new_shape": []},
        ],
    )
    assert json.loads(json.dumps(found)) == found


def test_strict_accepts_what_is_reshaped():
    found = planned({"a": spec(6, 4)}, saved(a=spec(5, 4)), reshape=True)
    assert found["reshaped"] == [{"name": "a", "old": "a", "old_shape": [5, 4], "new_shape": [6, 4]}]


@pytest.mark.parametrize(
    ("model", "source", "lines", "message"),
    [
        ({"a": spec(), "b": spec()}, {"a": spec()}, "", "1 of the model without a source: b"),
        ({"a": spec()}, {"a": spec(), "b": spec()}, "", "1 saved but not used: b"),
        (
            {"a": spec(), "b": spec(2, 3)},
            {"a": spec(), "b": spec(3, 3)},
            "",
            r"1 of another shape: b float32 \[2, 3\], saved float32 \[3, 3\]",
        ),
        (
            {"a": spec(), "b": spec(2)},
            {"a": spec(), "b": spec(2, dtype="int64")},
            "",
            r"b float32 \[2\], saved int64 \[2\]",
        ),
        ({"a": spec()}, {"a": spec()}, "a a\nb a", "1 of the map's lines in vain: 2"),
        ({"a": spec()}, {"a": spec()}, "\nre:b.* a", "1 of the map's lines in vain: 2"),
        ({"a": spec()}, {"a": spec()}, "- b", "1 of the map's lines in vain: 1"),
        ({"a": spec()}, {"a": spec()}, "- a", "1 of the map's lines in vain: 1"),  # it is used
        ({"a": spec()}, {"a": spec()}, "b -", "1 of the map's lines in vain: 1"),
        ({"a": spec(), "b": spec()}, {"a": spec()}, "b c", "1 of the model without a source: b; 1 of the map's lines in vain: 1"),
        ({"a": spec(), "b": spec()}, {"a": spec(), "c": spec(), "b": spec()}, "b c", "1 saved but not used: b"),
        (
            {"a": spec(), **{f"n{i}": spec() for i in range(7)}},
            {"a": spec(), "x": spec()},
            "",
            r"warm start from there: 7 of the model without a source: n0, n1, n2, n3, n4 and 2 more; 1 saved but not used: x\. "
            "Say what is meant in trainer.warm_start_map, or take what there is with trainer.warm_start_strict=false",
        ),
    ],
)
def test_strict_names_all_that_does_not_correspond(model, source, lines, message):
    with pytest.raises(ConfigError, match=message):
        planned(model, saved(**source), lines)
    assert planned(model, saved(**source), lines, strict=False)["source"] == "there"


@pytest.mark.parametrize(
    ("lines", "unused"),
    [("b -\n- c", ["c"]), ("re:b -\nre:- [cd]", ["c"]), ("b -\nre:- .*", ["c"])],
)
def test_strict_accepts_what_the_map_says_has_no_counterpart(lines, unused):
    found = planned({"a": spec(), "b": spec()}, saved(a=spec(), c=spec()), lines)
    assert found == nothing_but(restored=["a"], fresh=["b"], unused=unused)


def test_the_namesake_of_what_stays_fresh_is_unused_on_purpose():
    both = {"a": spec(), "b": spec(2)}
    assert planned(both, saved(**both), "b -") == nothing_but(restored=["a"], fresh=["b"], unused=["b"])


@pytest.mark.parametrize("source", [{"x": spec(2)}, {"a": spec(3)}])
def test_a_warm_start_that_restores_nothing_is_an_error(source):
    with pytest.raises(ConfigError, match="no variable of the model has a source that fits"):
        planned({"a": spec(2)}, saved(**source), strict=False)


some_variables = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([spec(), spec(2), spec(3), spec(3, 2)]))


@given(some_variables, some_variables, st.booleans())
def test_every_variable_is_in_the_report_once(model, source, reshape):
    model, source = {**model, "z": spec()}, saved(**source, z=spec())
    found = planned(model, source, strict=False, reshape=reshape)
    taken = [*found["restored"], *(item["name"] for item in found["reshaped"] + found["skipped"])]
    assert sorted(taken + found["fresh"]) == sorted(model)
    assert sorted(taken + found["unused"]) == sorted(source.variables)
    if found["fresh"] or found["skipped"] or found["unused"]:
        with pytest.raises(ConfigError, match="warm start from there"):
            planned(model, source, reshape=reshape)
    else:
        assert planned(model, source, reshape=reshape) == found


class Net(tf.Module):
    """Variables by name, of float32 values."""

    def __init__(self, **values):
        super().__init__()
        self.all = [tf.Variable(np.asarray(value, np.float32), name=name) for name, value in values.items()]


def write(path, **values):
    return tf.train.Checkpoint(model=Net(**values)).write(str(path))


def values_of(model):
    return {name: variable.numpy().tolist() for name, variable in named_variables(model).items()}


def config(**keys):
    return TrainerConfig(warm_start="given", **keys)


def test_values_are_restored_renamed_clipped_and_padded(tmp_path):
    path = write(tmp_path / "step-3", same=[1, 2], old=5, shrinks=[[1, 2], [3, 4], [5, 6]], grows=[[1, 2]], gone=0)
    net = Net(same=[0, 0], new=0, shrinks=np.zeros((2, 2)), grows=[[7, 7], [8, 8], [9, 9]], fresh=[3])
    (tmp_path / "map").write_text("new old\nfresh\t-\n- gone\n")
    done = warm_start(net, path, config(warm_start_map=str(tmp_path / "map"), warm_start_reshape=True))
    assert values_of(net) == {
        "same": [1, 2],
        "new": 5,
        "shrinks": [[1, 2], [3, 4]],
        "grows": [[1, 2], [8, 8], [9, 9]],
        "fresh": [3],
    }
    assert done == {
        "source": path,
        "restored": ["same"],
        "renamed": [{"new": "new", "old": "old"}],
        "reshaped": [
            {"name": "shrinks", "old": "shrinks", "old_shape": [3, 2], "new_shape": [2, 2]},
            {"name": "grows", "old": "grows", "old_shape": [1, 2], "new_shape": [3, 2]},
        ],
        "fresh": ["fresh"],
        "skipped": [],
        "unused": ["gone"],
    }


def test_what_is_skipped_keeps_its_values(tmp_path):
    net = Net(a=[0], b=[1, 2])
    done = warm_start(net, write(tmp_path / "step-1", a=[5], b=[7]), config(warm_start_strict=False))
    assert values_of(net) == {"a": [5], "b": [1, 2]}
    assert [item["name"] for item in done["skipped"]] == ["b"]


def test_nothing_is_assigned_if_the_plan_fails(tmp_path):
    net = Net(a=[1], b=[2])
    with pytest.raises(ConfigError, match="without a source: b"):
        warm_start(net, write(tmp_path / "step-1", a=[5]), config())
    assert values_of(net) == {"a": [1], "b": [2]}


def test_values_are_read_one_at_a_time_and_only_those_needed(tmp_path):
    source = read_variables(write(tmp_path / "step-1", a=[1], b=[2], c=[3]))
    read = []
    spying = Source(source.path, source.variables, lambda name: read.append(name) or source.read(name))
    net = Net(a=[0], c=[0], d=[0])
    variables = {name: Spec(tuple(v.shape), "float32") for name, v in named_variables(net).items()}
    decided = plan(variables, spying, (), strict=False, reshape=False)
    assert read == []
    apply(net, decided, spying)
    assert read == ["a", "c"]
    assert values_of(net) == {"a": [1], "c": [3], "d": [0]}


def test_a_value_that_is_not_of_its_own_shape_is_damaged(tmp_path):
    wrong = Source("there", {"a": spec(2)}, lambda name: np.zeros(3, np.float32))
    net = Net(a=[1, 2])
    with pytest.raises(InputDataError, match=r"there: damaged, a is \[3\]"):
        apply(net, plan({"a": spec(2)}, wrong, (), strict=True, reshape=False), wrong)


def test_two_variables_of_one_name_in_the_model_are_refused():
    net = Net(a=[1])
    net.twin = tf.Variable(2.0, name="a")
    with pytest.raises(ConfigError, match="several variables of the model are called a"):
        named_variables(net)


def wide_deep(seed, **model):
    return build_model(FEATURES, ModelConfig(**{"hidden_units": (4,), **model}), seed)


@pytest.mark.parametrize("form", ["saved model", "checkpoint"])
def test_wide_and_deep_takes_all_of_one_that_was_saved(form, tmp_path):
    old, new = wide_deep(seed=1), wide_deep(seed=2)
    for variable in old.variables:
        variable.assign_add(tf.ones(variable.shape))
    if form == "saved model":
        module = tf.Module()
        module.model_variables = old.variables
        serve = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([], tf.float32)])
        tf.saved_model.save(module, str(tmp_path), signatures=serve)
    else:
        tf.train.Checkpoint(model=old).write(f"{tmp_path}/best-5")
    done = warm_start(new, str(tmp_path), config())
    assert done["restored"] == [v.name.removesuffix(":0") for v in new.variables]
    for mine, theirs in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_what_stays_fresh_has_every_bit_it_had(tmp_path):
    tf.train.Checkpoint(model=wide_deep(seed=1, kind="wide")).write(f"{tmp_path}/step-1")
    model, untouched = wide_deep(seed=2), wide_deep(seed=2)
    model.wide.bias.assign(9.0)
    done = warm_start(model, f"{tmp_path}/step-1", config(warm_start_strict=False))
    assert len(done["restored"]) == len(model.wide.variables)
    assert len(done["fresh"]) == len(model.deep.variables)
    assert [v.numpy().tobytes() for v in model.deep.variables] == [v.numpy().tobytes() for v in untouched.deep.variables]
    assert model.wide.bias.numpy() == 0.0


REPLICAS = """
import sys
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from components.trainer.saved_variables import read_variables
from components.trainer.warm_start import warm_start
from schemas.config import TrainerConfig
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2

def net():
    module = tf.Module()
    module.table = tf.Variable([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], name="table")
    module.bias = tf.Variable(0.5, name="bias")
    return module

with strategy.scope():
    model = net()
    done = warm_start(model, sys.argv[1], TrainerConfig(warm_start="given", warm_start_reshape=True))
assert done["restored"] == ["bias"] and done["reshaped"][0]["name"] == "table", done
for variable, expected in ((model.table, [[7.0, 8.0], [2.0, 2.0], [3.0, 3.0]]), (model.bias, -4.0)):
    copies = strategy.experimental_local_results(variable)
    assert len(copies) == 2
    for copy in copies:
        assert copy.numpy().tolist() == expected, copy

model.bias.assign(11.0)
prefix = tf.train.Checkpoint(model=model).write(sys.argv[2])
source = read_variables(prefix)
assert {name: list(spec.shape) for name, spec in source.variables.items()} == {"table": [3, 2], "bias": []}
warm_start(model, prefix, TrainerConfig(warm_start="given"))
single = net()
warm_start(single, prefix, TrainerConfig(warm_start="given"))
assert single.bias.numpy() == 11.0 and single.table.numpy()[0].tolist() == [7.0, 8.0]
print("all replicas")
"""


def test_all_replicas_of_a_mirrored_model_start_warm(tmp_path):
    path = write(tmp_path / "step-1", table=[[7, 8]], bias=-4)
    command = [sys.executable, "-c", REPLICAS, path, str(tmp_path / "step-2")]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "all replicas"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "trainer.warm_start_map: .*/map: cannot be read: "),
        (b"\xff\xfe a", "cannot be read: "),
        (b"a\n", "/map:1: must be NEW"),
    ],
)
def test_a_map_that_cannot_be_used_is_named(content, message, tmp_path):
    if content is not None:
        (tmp_path / "map").write_bytes(content)
    path = write(tmp_path / "step-1", a=[1])
    with pytest.raises(ConfigError, match=message) as caught:
        warm_start(Net(a=[1]), path, config(warm_start_map=str(tmp_path / "map")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("alone", [{"warm_start_map": "m"}, {"warm_start_strict": False}, {"warm_start_reshape": True}])
def test_how_to_start_warm_needs_a_warm_start(alone):
    with pytest.raises(ValidationError, match=f"{next(iter(alone))} .* set trainer.warm_start"):
        TrainerConfig(**alone)
    TrainerConfig(warm_start="latest_blessed", **alone)
