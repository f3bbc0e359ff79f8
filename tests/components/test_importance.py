"""Permutation importance of models whose features are known to matter or not."""

import numpy as np
import pytest

from components.importance import Group, Sample, group_features, permutation_importance
from schemas.features import model_inputs

SIZES = np.array([2, 3, 2, 4] * 50)
DISPLAY = np.repeat(np.arange(len(SIZES)), SIZES)
GROUPS = (Group("used", ("used",), "item"), Group("unused", ("unused", "more"), "item"), Group("mood", ("mood",), "request"))


def sample():
    """Displays in which the first ad is clicked, and only `used` tells; `mood` says whether it tells upside down."""
    draw = np.random.default_rng(0)
    first = np.r_[True, DISPLAY[1:] != DISPLAY[:-1]]
    mood = draw.choice([-1.0, 1.0], len(SIZES))[DISPLAY]
    columns = {"used": np.where(first, 1.0, 0.0) * mood, "unused": draw.random(len(DISPLAY)), "more": first * 1.0, "mood": mood}
    return Sample(columns, first.astype(np.int8), SIZES)


def score(columns):
    return columns["used"] * columns["mood"]


def test_what_the_model_does_not_read_has_no_importance_and_what_it_reads_has_some():
    found = {group.name: falls for group, falls in permutation_importance(sample(), score, GROUPS, 2, 0)}
    assert (found["unused"] == 0).all()
    assert found["used"].mean() > 0.2
    assert found["mood"].mean() > 0.1


def test_a_displays_feature_stays_the_same_for_all_its_ads():
    seen = []

    def watched(columns):
        seen.append(columns["mood"])
        return score(columns)

    list(permutation_importance(sample(), watched, GROUPS[2:], 3, 0))
    assert len(seen) == 4
    for mood in seen:
        assert all(len(set(mood[d == DISPLAY])) == 1 for d in range(len(SIZES)))
    assert not np.array_equal(seen[1], seen[2])


def test_features_of_a_group_are_permuted_by_the_same_rows():
    seen = []

    def watched(columns):
        seen.append((columns["unused"], columns["more"]))
        return score(columns)

    data = sample()
    list(permutation_importance(data, watched, GROUPS[1:2], 1, 0))
    pairs = set(zip(data.columns["unused"], data.columns["more"], strict=True))
    assert not np.array_equal(seen[1][0], data.columns["unused"])
    assert set(zip(*seen[1], strict=True)) == pairs


def test_the_seed_determines_it_whatever_other_groups_there_are():
    alone = dict(permutation_importance(sample(), score, GROUPS[2:], 2, 7))
    among = dict(permutation_importance(sample(), score, GROUPS, 2, 7))
    other = dict(permutation_importance(sample(), score, GROUPS[2:], 2, 8))
    mood = GROUPS[2]
    assert np.array_equal(alone[mood], among[mood])
    assert not np.array_equal(alone[mood], other[mood])


def test_displays_without_a_click_are_not_counted():
    data = sample()
    labels = np.where(DISPLAY == 0, 0, data.labels)
    ((_, falls),) = permutation_importance(Sample(data.columns, labels, SIZES), score, GROUPS[:1], 1, 0)
    assert np.isnan(falls[0])
    assert not np.isnan(falls[1:]).any()


def test_features_that_say_the_same_are_together_and_every_feature_is_in_one_group():
    inputs = model_inputs(add=["pop_source_id_country_conf"])
    groups = {group.name: group for group in group_features(inputs)}
    assert groups["pop_ad_id"].features == ("pop_ad_id", "pop_ad_id_conf", "ad_views")
    assert groups["pop_campaign_id"].features == ("pop_campaign_id", "pop_campaign_id_conf_multipl")
    assert groups["event_geo_location"].features == ("event_country", "event_country_state", "event_geo_location")
    assert groups["event_hour"].features == ("event_hour", "doc_event_hour")
    members = [name for group in groups.values() for name in group.features]
    assert sorted(members) == sorted(f.name for f in inputs)
    levels = {f.name: f.level for f in inputs}
    assert all(levels[name] == group.level for group in groups.values() for name in group.features)
    assert pytest.approx(len(groups), abs=10) == 40
