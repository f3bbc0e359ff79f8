"""The page as text: structure that screen readers need, text from outside that stays text, and nothing to be fetched."""

import dataclasses
import html.parser
import itertools
import json
import re

import pytest

from pipeline.report import content
from pipeline.report.content import Absent
from pipeline.report.page import render
from tests.pipeline.report.sample import EMPTY, FULL, HOSTILE, PLOTS

VOID = {"meta", "img", "link", "br", "hr", "input", "wbr"}


class Page(html.parser.HTMLParser):
    """A page's elements, as (tag, attributes) in their order, and the text in each kind of tag."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def full():
    return render(FULL)


def test_elements_are_closed_and_ids_are_there_once(full):
    page = Page(full)
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for a in page.all("a")} <= set(ids)


@pytest.mark.parametrize("report", [FULL, EMPTY], ids=["full", "empty"])
def test_headings_go_down_one_level_at_a_time_and_landmarks_are_there(report):
    page = Page(render(report))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert [len(page.all(tag)) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]
    assert page.all("html")[0]["lang"] == "en"


def test_tables_have_captions_and_their_header_cells_a_scope(full):
    page = Page(full)
    assert len(page.all("caption")) == len(page.all("table")) > 10
    assert {cell["scope"] for cell in page.all("th")} == {"col", "row"}


def test_every_plot_says_what_is_to_be_seen_and_has_its_numbers_in_a_table(full):
    page = Page(full)
    plots = [attributes["id"] for attributes in page.all("div") if attributes.get("class") == "plot"]
    assert tuple(plots) == PLOTS
    labels = [attributes["aria-label"] for attributes in page.all("div") if attributes.get("role") == "img"]
    assert len(labels) == len(plots)
    assert all(len(label) > 20 for label in labels)
    assert full.count("<summary>Numbers: ") + full.count("Training by epoch <span") == len(plots) - 2  # three curves share a table


def test_text_from_outside_stays_text(full):
    page = Page(full)
    assert page.all("img") == []
    assert [attributes.get("type") for attributes in page.all("script")] == ["application/json", None, None]
    assert "<script>alert" not in full
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert any(HOSTILE in cell for cell in page.text["th"])


def test_plots_have_what_is_from_outside_as_data(full):
    specs = json.loads(Page(full).text["script"][0])["specs"]
    names = [row["name"] for rows in specs["plot-slices"]["datasets"].values() for row in rows if "name" in row]
    assert f"{HOSTILE} · event_country" in names


@pytest.mark.parametrize("report", [FULL, EMPTY], ids=["full", "empty"])
def test_nothing_is_to_be_fetched(report):
    text = render(report)
    page = Page(text)
    for _, attributes in page.elements:
        assert not {"src", "srcset", "data", "action", "poster", "ping"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    assert page.all("link", "iframe", "object", "embed", "form", "base") == []
    styles = "".join(page.text["style"])
    assert not re.search(r"url\(|@import", styles)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert "http" not in policy


def test_a_plots_data_is_within_the_page(full):
    specs = json.loads(Page(full).text["script"][0])["specs"]
    assert "url" not in json.dumps(specs)
    assert "$schema" not in json.dumps(specs)


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        ({}, "Blessed"),
        ({"verdict": content.Verdict(False, ("It is worse.",), ())}, "Not blessed"),
        ({"run": dataclasses.replace(FULL.run, not_pushed="It was rolled back.")}, "Blessed, but not pushed"),
        ({"infra": content.Infra(False, (content.Check("operations", False, "PyFunc is refused."),))}, "Blessed, but not pushed"),
        ({"verdict": Absent("The Gate did not come to its end.")}, "No verdict"),
        ({"run": content.Run("20260101-120000-abcd", "/root", state="failed", note="Transform failed: no reason.")}, "Failed"),
        ({"run": content.Run("20260101-120000-abcd", "/root", state="unfinished", note="It goes on.")}, "Not finished"),
    ],
)
def test_the_page_begins_with_the_verdict_and_its_reasons(change, headline):
    report = dataclasses.replace(FULL, **change)
    text = render(report)
    assert Page(text).text["title"][0].startswith(f"{headline}: run")
    first = text.partition("<h2")[2]
    assert headline in first[:200]
    reasons = [report.run.note] if report.run.note else [getattr(report.verdict, "why", "")]
    reasons += [report.run.not_pushed, *(check.sentence for check in report.infra.checks if not check.passed)]
    reasons += [] if report.run.note else getattr(report.verdict, "reasons", ())
    for reason in reasons:
        assert reason.partition("<")[0] in first[:1500]


def test_a_part_that_is_absent_says_why_and_an_empty_report_has_no_scripts():
    page = Page(render(EMPTY))
    shown = "".join(page.text["p"])
    for field in dataclasses.fields(content.Report):
        if field.name not in ("run", "infra"):  # the infra check stands with the checks of the gate
            assert f"No {field.name} was made." in shown
    assert page.all("script") == []


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(content.Report) if f.name != "run"])
def test_any_part_may_be_absent_alone(name):
    assert f"{name} is gone." in render(dataclasses.replace(FULL, **{name: Absent(f"{name} is gone.")}))


def test_what_is_bad_is_said_in_words_and_signs_and_not_by_colour_alone(full):
    for sign in ("✗ failed", "▼ worse", "0.200 ▲", "(gone)", "✗ failed: ValueError"):
        assert sign in full
