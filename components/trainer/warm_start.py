"""Warm start: a new model's variables take the values of one that was saved before, by name, and nothing happens unreported.

After EasyRec's `fine_tune_checkpoint`, `fine_tune_ckpt_var_map` and `force_restore_shape_compatible`
(https://github.com/alibaba/EasyRec), which restore what happens to fit; here what does not fit is an error unless asked for.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from components.trainer.saved_variables import Source, Spec, read_variables
from components.trainer.variable_map import NOTHING, Rule, find_source, parse_variable_map
from schemas.config import TrainerConfig
from schemas.errors import ConfigError, InputDataError

logger = logging.getLogger(__name__)

_SHOWN = 5  # names of a kind in an error message

Kind = Literal["restored", "renamed", "reshaped", "fresh", "skipped"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes of one variable of the model.

    Attributes:
        name: Its name.
        spec: What it is like.
        kind: restored: from the same name; renamed: from another; reshaped: from either, clipped or padded; fresh: no source;
            skipped: the source does not fit.
        old: Name of its source, None if fresh.
        old_spec: What that is like.
    """

    name: str
    spec: Spec
    kind: Kind
    old: str | None = None
    old_spec: Spec | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of all variables.

    Attributes:
        path: Of the source.
        entries: One for each variable of the model.
        unused: Saved variables that no variable of the model asked for.
    """

    path: str
    entries: tuple[Entry, ...]
    unused: tuple[str, ...]

    def of_kind(self, kind: Kind) -> list[Entry]:
        """Returns the entries of a kind."""
        return [entry for entry in self.entries if entry.kind == kind]


def plan(variables: Mapping[str, Spec], source: Source, rules: Sequence[Rule], *, strict: bool, reshape: bool) -> Plan:
    """Decides what becomes of every variable; reads no values.

    Args:
        variables: The new model's, by name.
        source: The saved ones.
        rules: From `parse_variable_map`.
        strict: Whether every variable must have a source that fits, every saved one must be used, and every rule must match
            something; but for what a rule says has no counterpart.
        reshape: Whether a source that differs in the first dimension only fits, too.

    Raises:
        ConfigError: It is not as `strict` says; two regexes match one variable; or no variable at all has a source that fits.
    """
    entries, fresh_on_purpose, matched = [], set[str](), set[Rule]()
    for name, spec in variables.items():
        old, rule = find_source(name, rules)
        old_spec = source.variables.get(old)
        if old == NOTHING:
            fresh_on_purpose.add(name)
        if rule is not None and (old == NOTHING or old_spec is not None):
            matched.add(rule)
        entries.append(Entry(name, spec, "fresh") if old_spec is None else _with_source(name, spec, old, old_spec, reshape))
    asked_for = {entry.old for entry in entries}
    unused = tuple(old for old in source.variables if old not in asked_for)
    result = Plan(source.path, tuple(entries), unused)
    if strict:
        unused_on_purpose = set(fresh_on_purpose)  # the namesake of one that stays fresh
        for old in unused:
            leaving = {rule for rule in rules if rule.leaves_unused(old)}
            matched |= leaving
            unused_on_purpose |= {old} if leaving else set()
        problems = [
            _listed("of the model without a source", [e.name for e in result.of_kind("fresh") if e.name not in fresh_on_purpose]),
            _listed("of another shape", [f"{e.name} {e.spec}, saved {e.old_spec}" for e in result.of_kind("skipped")]),
            _listed("saved but not used", [old for old in unused if old not in unused_on_purpose]),
            _listed("of the map's lines in vain", [str(rule.line) for rule in rules if rule not in matched]),
        ]
        if any(problems):
            raise ConfigError(
                f"warm start from {source.path}: {'; '.join(filter(None, problems))}. Say what is meant in trainer.warm_start_map, "
                "or take what there is with trainer.warm_start_strict=false"
            )
    if all(entry.kind in ("fresh", "skipped") for entry in entries):
        raise ConfigError(f"warm start from {source.path}: no variable of the model has a source that fits")
    return result


def _with_source(name: str, spec: Spec, old: str, old_spec: Spec, reshape: bool) -> Entry:
    kind: Kind = "restored" if name == old else "renamed"
    if spec != old_spec:
        same_rows = (
            bool(spec.shape) and bool(old_spec.shape) and spec.dtype == old_spec.dtype and spec.shape[1:] == old_spec.shape[1:]
        )
        kind = "reshaped" if reshape and same_rows else "skipped"
    return Entry(name, spec, kind, old, old_spec)


def _listed(what: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{more}" if names else ""


def apply(model: tf.Module, planned: Plan, source: Source) -> None:
    """Assigns what `planned` says, one variable at a time, on all replicas if the model is distributed.

    A reshaped variable keeps its own values in the rows that the source lacks.

    Raises:
        InputDataError: A value is damaged; the variables before it have been assigned.
    """
    variables = named_variables(model)
    for entry in planned.entries:
        if entry.old is None or entry.kind == "skipped":
            continue
        variable, value = variables[entry.name], source.read(entry.old)
        if entry.kind == "reshaped":
            rows = min(len(value), entry.spec.shape[0])
            value = np.concatenate([value[:rows], variable.numpy()[rows:]])
        if value.shape != entry.spec.shape:
            raise InputDataError(f"{source.path}: damaged, {entry.old} is {list(value.shape)}")
        variable.assign(value)


def named_variables(model: tf.Module) -> dict[str, tf.Variable]:
    """Returns the model's variables by name.

    Raises:
        ConfigError: Two have the same name.
    """
    named: dict[str, tf.Variable] = {}
    for variable in model.variables:
        name = variable.name.removesuffix(":0")
        if name in named:
            raise ConfigError(f"warm start: several variables of the model are called {name}")
        named[name] = variable
    return named


def report(planned: Plan) -> dict[str, Any]:
    """Returns the plan for JSON: `source`, and lists by what became of variables; shapes are lists of sizes."""
    return {
        "source": planned.path,
        "restored": [entry.name for entry in planned.of_kind("restored")],
        "renamed": [{"new": entry.name, "old": entry.old} for entry in planned.of_kind("renamed")],
        "reshaped": [_shapes(entry) for entry in planned.of_kind("reshaped")],
        "fresh": [entry.name for entry in planned.of_kind("fresh")],
        "skipped": [_shapes(entry) for entry in planned.of_kind("skipped")],
        "unused": list(planned.unused),
    }


def _shapes(entry: Entry) -> dict[str, Any]:
    assert entry.old_spec
    return {"name": entry.name, "old": entry.old, "old_shape": list(entry.old_spec.shape), "new_shape": list(entry.spec.shape)}


def warm_start(model: tf.Module, path: str, config: TrainerConfig) -> dict[str, Any]:
    """Gives the model's variables the values saved at `path`, and returns the report of it.

    Args:
        model: With all its variables; within or outside of a strategy's scope, not within a replica.
        path: As of `read_variables`.
        config: The `trainer` section: map, strict and reshape.

    Raises:
        ConfigError: Path or map cannot be used, or the variables do not fit.
        InputDataError: What is at `path` is damaged.
    """
    source = read_variables(path)
    planned = plan_for(model, source, config)
    apply(model, planned, source)
    done = report(planned)
    logger.info("warm start from %s: %s", source.path, ", ".join(f"{len(v)} {k}" for k, v in done.items() if k != "source" and v))
    return done


def plan_for(model: tf.Module, source: Source, config: TrainerConfig) -> Plan:
    """Makes the plan for a model that is there; see `warm_start`."""
    rules = _read_map(config.warm_start_map) if config.warm_start_map else ()
    variables = {name: Spec(tuple(v.shape), v.dtype.name) for name, v in named_variables(model).items()}
    return plan(variables, source, rules, strict=config.warm_start_strict, reshape=config.warm_start_reshape)


def _read_map(path: str) -> tuple[Rule, ...]:
    try:
        with tf.io.gfile.GFile(path) as file:
            return parse_variable_map(file.read(), path)
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise ConfigError(f"trainer.warm_start_map: {path}: cannot be read: {str(error).splitlines()[0]}") from error
