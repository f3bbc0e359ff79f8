"""What cannot be judged is said before the work begins, by name."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from components.evaluator.displays import read_displays
from components.evaluator.eval_config import eval_config
from components.evaluator.models import check_model
from components.evaluator.results import OVERALL, read_evaluation
from schemas import features
from schemas.config import EvaluateConfig
from schemas.errors import InputDataError
from tests.components.saved_models import save_scorer
from tests.rows import random_rows
from transforms.examples import encode

CONFIG = eval_config(EvaluateConfig(slices=(("event_platform",), ("traffic_source",))))


@pytest.fixture(scope="module")
def some():
    return encode(random_rows(1))


@pytest.fixture
def folder(tmp_path):
    return save_scorer(tmp_path / "model")


def damage_variables(folder):
    (file,) = folder.glob("variables/variables.data-*")
    content = bytearray(file.read_bytes())
    content[:4] = bytes(byte ^ 255 for byte in content[:4])
    file.write_bytes(content)


DAMAGE = {
    "no saved_model.pb": (lambda folder: (folder / "saved_model.pb").unlink(), r"saved_model\.pb: No such file"),
    "half of saved_model.pb": (
        lambda folder: (folder / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:1000]),
        r"saved_model\.pb: damaged",
    ),
    "empty saved_model.pb": (lambda folder: (folder / "saved_model.pb").write_bytes(b""), r"saved_model\.pb: holds no graph"),
    "no variables": (lambda folder: shutil.rmtree(folder / "variables"), "cannot be loaded and run"),
    "no variables.data": (lambda folder: next(folder.glob("variables/*.data-*")).unlink(), "cannot be loaded and run"),
    "damaged variables.data": (damage_variables, "cannot be loaded and run"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_model(folder, some, case):
    check_model(str(folder), some, features.columns(), "the model")
    do_damage, message = DAMAGE[case]
    do_damage(folder)
    with pytest.raises(InputDataError, match=f"the model, {folder}.*{message}"):
        check_model(str(folder), some, features.columns(), "the model")


def test_a_model_without_the_signature(tmp_path, some):
    folder = save_scorer(tmp_path, signature="score_ads")
    with pytest.raises(InputDataError, match=r"has no signature 'serving_default'\. Received: score_ads"):
        check_model(str(folder), some, features.columns(), "the model")


def test_a_model_that_reads_another_table(folder, some):
    columns = {name: kind for name, kind in features.columns().items() if name != "pop_ad_id"}
    with pytest.raises(InputDataError, match="reads columns that the examples do not have: pop_ad_id"):
        check_model(str(folder), some, columns, "the latest blessed model")
    with pytest.raises(InputDataError, match="another type now: pop_ad_id as float32, now int64"):
        check_model(str(folder), some, columns | {"pop_ad_id": "int64"}, "the latest blessed model")


def test_more_columns_than_a_model_reads_are_fine(folder, some):
    check_model(str(folder), some, features.columns() | {"new_feature": "string"}, "the latest blessed model")


def test_an_unfit_candidate_stops_the_evaluation(evaluator, rows):
    with pytest.raises(InputDataError, match=r"the model, .*has no signature 'serving_default'"):
        evaluator(CONFIG, evaluator.examples(rows, 1), evaluator.model(signature="score_ads"))


@pytest.mark.parametrize("case", ["half-deleted", "other schema"])
def test_an_unfit_blessed_model_is_named_and_the_candidate_judged_alone(evaluator, rows, case):
    baseline = evaluator.model(feature="retired_feature" if case == "other schema" else "pop_ad_id")
    if case == "half-deleted":
        shutil.rmtree(Path(baseline.uri, "Format-Serving", "variables"))
    folder, _ = evaluator(CONFIG, evaluator.examples(rows, 1), evaluator.model(weight=4.0), baseline)
    evaluation = read_evaluation(folder)
    assert evaluation.baseline is None
    assert baseline.uri in evaluation.baseline_problem
    assert ("retired_feature" if case == "other schema" else "cannot be loaded") in evaluation.baseline_problem
    assert evaluation.candidate[OVERALL]["map_at_12_displays"] == 77 - 8
    assert "map_at_12_blessed" not in read_displays(folder).column_names


def test_an_empty_eval_split(evaluator, rows):
    with pytest.raises(InputDataError, match=r"the eval split is empty; see split\.eval_days"):
        evaluator(CONFIG, evaluator.examples(rows.slice(0, 0), 2), evaluator.model())


def test_no_eval_files(evaluator, rows):
    with pytest.raises(InputDataError, match="there are no files to evaluate on"):
        evaluator(CONFIG, evaluator.examples(rows, 0), evaluator.model())


def test_a_truncated_eval_file(evaluator, rows):
    examples = evaluator.examples(rows, 1)
    (file,) = Path(examples.uri).glob("Split-eval/*")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputDataError, match=f"{file}: "):
        evaluator(CONFIG, examples, evaluator.model())


@pytest.mark.parametrize("column", ["display_id", "label", "popularity"])
def test_rows_without_what_every_row_must_have(evaluator, rows, column):
    place = rows.column_names.index(column)
    lacking = rows.set_column(place, column, pa.nulls(rows.num_rows, rows.schema.field(column).type))
    with pytest.raises(Exception, match=f"{column} is missing from rows of the eval split"):
        evaluator(CONFIG, evaluator.examples(lacking, 1), evaluator.model())


def test_a_slice_without_displays_is_not_there(evaluator, rows):
    place = rows.column_names.index("traffic_source")
    lacking = rows.set_column(place, "traffic_source", pa.nulls(rows.num_rows, pa.int64()))
    folder, _ = evaluator(CONFIG, evaluator.examples(lacking, 2), evaluator.model())
    evaluation = read_evaluation(folder)
    assert {name for key in evaluation.candidate for name, _ in key} == {"event_platform"}
    assert read_displays(folder)["slice.traffic_source"].null_count == 77
