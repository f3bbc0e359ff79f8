"""Colours of the page, light, dark and print: text by WCAG 2.2 AA (4.5 to 1), marks of plots by its 3 to 1."""

import re
from importlib import resources

import pytest

CSS = (resources.files("pipeline.report") / "report.css").read_text()
TEXT = [
    *((ink, card) for ink in ("ink", "muted", "accent") for card in ("page", "card", "marked")),
    *((tone, f"{tone}-card") for tone in ("good", "bad", "open")),
    *(("ink", f"{tone}-card") for tone in ("good", "bad", "open")),
]
MARKS = [(mark, "card") for mark in ("accent", "warn", "quiet", "ink")]


def palette(start):
    block = CSS.partition(start)[2].partition("}")[0]
    return {
        name: int("".join(c * (6 // len(value)) for c in value), 16) for name, value in re.findall(r"--([\w-]+): #(\w+);", block)
    }


PALETTES = {
    "light": palette(":root {"),
    "dark": palette("@media (prefers-color-scheme: dark) {\n  :root {"),
    "print": palette("@media print {\n  :root {"),
}


def luminance(color):
    """As WCAG defines it: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [(color >> shift & 255) / 255 for shift in (16, 8, 0)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_by_hand():
    assert contrast(0x000000, 0xFFFFFF) == pytest.approx(21)
    assert contrast(0x777777, 0xFFFFFF) == pytest.approx(4.48, abs=0.01)  # the usual example of what is just not enough


@pytest.mark.parametrize("name", PALETTES)
def test_all_palettes_have_the_same_colours(name):
    assert set(PALETTES[name]) == set(PALETTES["light"])
    assert len(PALETTES[name]) > 10


@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (MARKS, 3.0)], ids=["text", "marks"])
def test_contrast_is_enough(name, pairs, least):
    colors = PALETTES[name]
    low = {(a, b): round(contrast(colors[a], colors[b]), 2) for a, b in pairs if contrast(colors[a], colors[b]) < least}
    assert low == {}
