"""Colours for every reader: what meets in a figure differs in colour or in something else, and each has one place."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from experiments import softmax
from matplotlib import pyplot as plt
from PIL import Image

from facelearn import figures
from tools.colour_vision import APART, TOGETHER, VISION, close, distance, seen, simulated

ROOT = Path(__file__).resolve().parent.parent
EXPLORER = ROOT / "course" / "site" / "explorer.html"


@pytest.mark.parametrize("vision", VISION)
def test_greys_are_the_same_to_everyone(vision):
    greys = np.repeat(np.linspace(0, 1, 11)[:, None], 3, axis=1)
    np.testing.assert_allclose(seen(greys, vision), greys, atol=2e-5)


def test_who_confuses_what():
    """Red and green of one lightness for protan and deutan readers, blue and green for tritan ones: by definition."""
    red_green, blue_green = ("#B4641E", "#64821E"), ("#0082A0", "#008C78")
    for pair, worse in ((red_green, {"protan", "deutan"}), (blue_green, {"tritan"})):
        apart = {vision: distance(*pair, vision) for vision in VISION}
        assert {vision for vision in VISION if apart[vision] < 0.6 * apart["all cones"]} == worse, apart


def test_a_picture_is_seen_pixel_by_pixel_and_transparency_is_white():
    picture = Image.new("RGBA", (2, 1), (213, 94, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    dot, ground = (simulated(picture, "deutan").getpixel((x, 0)) for x in (0, 1))
    assert ground == (255, 255, 255)
    np.testing.assert_allclose(np.array(dot) / 255, seen(np.array([213, 94, 0]) / 255, "deutan"), atol=0.5 / 255)


def test_losses_that_meet_most_are_apart_by_colour_alone():
    assert list(close({stem: figures.COLOURS[stem] for stem in figures.PROMINENT})) == []


def test_losses_whose_colours_come_close_differ_in_dash():
    pairs = list(close(figures.COLOURS))
    assert pairs  # 23 colours cannot all be apart: the dash is needed
    assert [(a, b) for a, b, *_ in pairs if figures.line(a)["linestyle"] == figures.line(b)["linestyle"]] == []


def test_the_explorer_has_the_colours_of_figures_and_a_dash_where_two_come_close():
    drawn = re.findall(r'(\w+): +\{ name: .*?colour: "(#\w{6})", dash: "([^"]*)"', EXPLORER.read_text(encoding="utf-8"))
    assert {stem: colour for stem, colour, _ in drawn} == {s: figures.COLOURS[s] for s in TOGETHER["explorer"]}
    dash = {stem: dash for stem, _, dash in drawn}
    near = close({stem: figures.COLOURS[stem] for stem in dash})
    assert [(a, b) for a, b, *_ in near if dash[a] == dash[b]] == []


def test_classes_carry_their_number_since_two_of_ten_colours_meet():
    near = {pair[:2] for pair in close({str(k): shade for k, shade in enumerate(figures.CLASSES)})}
    assert near == {("6", "9")}  # rose and grey, to a protan reader
    angles = np.repeat(np.arange(10) * np.pi / 5, 4)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.tile([1, 2, 3, 4], 10)[:, None]
    labels = np.repeat(np.arange(10), 4)
    _, (left, right) = plt.subplots(1, 2)
    figures.petals(left, x, labels)
    figures.directions(right, x, labels)
    for ax in (left, right):
        assert sorted(text.get_text() for text in ax.texts) == [str(k) for k in range(10)]
    plt.close("all")


def test_regions_of_up_to_four_classes_are_apart_by_colour_alone():
    shades = [figures.CLASSES[k] for k in softmax.REGION_CLASSES]
    assert min(distance(a, b, v) for a, b in combinations(shades, 2) for v in VISION) >= APART


def test_the_colour_of_a_loss_is_named_in_one_place():
    """Everybody else asks `figures.colour`. Softmax's dark grey is ink, too, and may stand anywhere."""
    chromatic = {c.lower(): stem for stem, c in figures.COLOURS.items() if len({c[1:3], c[3:5], c[5:]}) > 1}
    folders = {"facelearn": "py", "tools": "py", "course": "md", "course/experiments": "py", "benchmarks": "py"}
    found = [
        (path.relative_to(ROOT).as_posix(), colour)
        for folder, kind in folders.items()
        for path in (ROOT / folder).rglob(f"*.{kind}")
        for colour in re.findall(r"#[0-9a-f]{6}\b", path.read_text(encoding="utf-8").lower())
        if colour in chromatic and path != Path(figures.__file__)
    ]
    assert found == []
