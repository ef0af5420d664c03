"""The graph of the chapters: each below what it needs, readable, links to what is written alone."""

import math
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.tools import made_up
from tests.tools.test_chapters import with_aims
from tools import contents, lint, prerequisites
from tools.chapters import LANGUAGES, Chapter

COURSE = Path(__file__).resolve().parents[2] / "course"
PLAN = "number,needs,en,zh\n00,,Start,起步\n03,00,Softmax,Softmax\n07,03,NormFace,NormFace\n12,07,ArcFace,ArcFace\n"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("[softmax](03_softmax.ipynb) and rates (chapter 01)", {"01", "03"}),
        ("SphereFace and CosFace (chapters 10 and 11, not written yet); 20 minutes", {"10", "11"}),
        ("SphereFace 和 CosFace（第 10、11 章）；[softmax](03_softmax.ipynb)，99 个人", {"03", "10", "11"}),
    ],
)
def test_chapters_that_a_text_names(text, numbers):
    assert prerequisites.named(text) == numbers


@pytest.mark.parametrize(
    ("names", "missing", "other"),
    [
        ("chapter 07", [], []),
        ("chapters 00, 03 and 07", [], []),  # what chapter 07 needs may be named
        ("chapter 03", ["07"], []),
        ("chapters 07 and 11", [], ["11"]),
    ],
)
def test_a_chapter_needs_what_the_plan_says(project, names, missing, other):
    assert made_up.NAME.startswith("12")
    (project.course / "chapters.csv").write_text(PLAN, encoding="utf-8")
    chapter = Chapter(with_aims(project, en=f"You need this ({names}). About 60 minutes.").path("en"))
    found = [message for _, message in lint.needed(chapter)]
    assert bool(found) == bool(missing or other)
    assert all(message.endswith(f"expected {missing}, not {other}") for message in found)


def test_the_course_can_be_read_in_its_order():
    needs = prerequisites.direct(contents.plan(COURSE))
    assert list(needs) == sorted(needs)
    for number, wanted in needs.items():
        assert all(one in needs and one < number for one in wanted)
        assert number == "00" or "00" in prerequisites.before(needs, number)
        for one in wanted:  # nothing is asked for twice
            assert not any(one in prerequisites.before(needs, other) for other in wanted)


def test_every_circle_lies_below_all_that_it_needs_and_apart_from_the_others():
    needs = prerequisites.direct(contents.plan(COURSE))
    place = prerequisites.places(needs)
    for number, (x, y) in place.items():
        assert prerequisites.RADIUS < x < prerequisites.WIDTH - prerequisites.RADIUS
        assert all(place[one][1] + 2 * prerequisites.RADIUS < y for one in needs[number])
    assert min(math.dist(a, b) for a, b in combinations(place.values(), 2)) > 4 * prerequisites.RADIUS


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_drawing_names_all_and_links_what_is_written(language):
    plan = contents.plan(COURSE)
    text = prerequisites.drawing(plan, language, {"03", "12"}, "{}_a.html".format)
    svg, name = ElementTree.fromstring(text), "{http://www.w3.org/2000/svg}"
    words = [node.text for node in svg.iter(f"{name}text")]
    assert {row["number"] for row in plan} <= set(words)
    assert [a.get("href") for a in svg.iter(f"{name}a")] == ["03_a.html", "12_a.html"]
    assert not ElementTree.fromstring(prerequisites.drawing(plan, language, {"03"})).findall(f".//{name}a")
    assert max(map(len, words)) <= 16
