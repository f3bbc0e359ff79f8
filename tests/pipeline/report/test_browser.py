"""The page in a headless Chromium that reaches no network: every plot is drawn, no script complains, nothing is asked for."""

import dataclasses
import os
import re
import shutil
import subprocess

import pytest

from pipeline.report.content import Absent
from pipeline.report.page import render
from tests.pipeline.report.sample import FULL, PLOTS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")


def opened(page, tmp_path, *options):
    """Opens a page; returns its elements after all scripts, and what the browser wrote."""
    file, net_log = tmp_path / "report.html", tmp_path / "net.json"
    file.write_text(page)
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--enable-logging=stderr", "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={net_log}"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
        *("--virtual-time-budget=20000", "--dump-dom", *options, file.as_uri()),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "HOME": str(tmp_path)}
    )
    return done.stdout, done.stderr, net_log.read_text()


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return opened(render(FULL), tmp_path_factory.mktemp("full"))


def test_every_plot_is_drawn(full):
    dom, _, _ = full
    assert re.search(r'<html[^>]*data-plots="([^"]*)"', dom)[1] == "drawn"
    plots = re.findall(r'id="(plot-[\w-]+)"[^>]*>(.*?)</figure>', dom, re.DOTALL)
    assert tuple(key for key, _ in plots) == PLOTS
    for key, inside in plots:
        assert "<svg" in inside, key
        assert len(re.findall("<path|<line|<rect", inside)) > 5, key
        assert "NaN" not in inside, key


def test_no_script_complains_and_nothing_breaks_the_policy(full):
    _, log, _ = full
    console = [line for line in log.splitlines() if "CONSOLE" in line]
    assert [line for line in console if "WARN Dropping" not in line] == []  # Vega-Lite: plots are as high as they have rows


ITS_OWN = {
    "accounts.google.com",
    "android.clients.google.com",
    "clients2.google.com",
    "update.googleapis.com",
    "redirector.gvt1.com",
}
"""Hosts that Chromium asks for itself, at times of its own choosing."""


def hosts(net_log):
    """The hosts that the browser asked for anything."""
    return {re.sub(r"^\w+://([^/]+).*", r"\1", url) for url in re.findall(r'"url":"((?:http|ws|ftp)[^"]+)"', net_log)}


def test_the_page_asks_for_nothing(full, tmp_path):
    # What else the browser itself asks for is the same with a page that has nothing in it.
    _, _, of_nothing = opened("<!doctype html><title>nothing</title>", tmp_path)
    assert hosts(full[2]) <= hosts(of_nothing) | ITS_OWN


def test_a_page_that_asks_is_found_out(tmp_path):
    _, _, net_log = opened('<!doctype html><title>asks</title><img src="http://asked.example/x.png">', tmp_path)
    assert "asked.example" in hosts(net_log)


def test_a_script_from_outside_does_not_run(full):
    dom, log, _ = full
    assert "alert(1)" in dom  # it is there, as text
    assert "dialog" not in log.lower()


def test_a_plot_without_bounds_is_drawn(tmp_path):
    def bare(estimate):
        return dataclasses.replace(estimate, lower=None, upper=None)

    rankings = tuple(dataclasses.replace(r, map_at_12=bare(r.map_at_12)) for r in FULL.evaluation.rankings)
    rows = tuple(dataclasses.replace(s, difference=bare(s.difference)) for s in FULL.slices.rows)
    older = dataclasses.replace(
        FULL,
        evaluation=dataclasses.replace(FULL.evaluation, rankings=rankings),
        slices=dataclasses.replace(FULL.slices, rows=rows),
        calibration=Absent("None."),
    )
    dom, log, _ = opened(render(older), tmp_path)
    assert re.search(r'data-plots="([^"]*)"', dom)[1] == "drawn"
    assert "ERROR:CONSOLE" not in log


def test_a_narrow_page_does_not_scroll_sideways(tmp_path):
    measure = "document.title = document.documentElement.scrollWidth - document.documentElement.clientWidth"
    probe = f"<script>addEventListener('load', () => setTimeout(() => {{ {measure} }}, 3000))</script>"
    page, _, end = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render(FULL)).rpartition("</body>")
    dom, _, _ = opened(f"{page}{probe}</body>{end}", tmp_path, "--window-size=375,800")
    assert re.search(r'data-plots="([^"]*)"', dom)[1] == "drawn"
    assert re.search(r"<title>(.*?)</title>", dom)[1] == "0"
