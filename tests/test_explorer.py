"""The explorer page: its numbers are those of the package, and it can be used without a mouse, in both languages."""

from __future__ import annotations

import importlib
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from facelearn import figures, losses
from tests.browsers import needs_chromium, screen

PAGE = Path(__file__).resolve().parent.parent / "course" / "site" / "explorer.html"
pytestmark = needs_chromium

SETTINGS = [
    {"s": 16.0, "m1": 1.7, "m2": 0.5, "m3": 0.35, "t": 0.2, "theta": 60.0},
    {"s": 5.0, "m1": 3.0, "m2": 0.1, "m3": 0.6, "t": 0.0, "theta": 20.0},
    {"s": 40.0, "m1": 1.0, "m2": 0.9, "m3": 0.1, "t": 0.9, "theta": 95.0},
]


def head(stem: str, p: dict[str, float], classes: int = 101) -> losses.MarginHead:
    """The package's own, on the unit circle."""
    settings: dict[str, dict[str, Any]] = {
        "normface": {},
        "sphereface": {"margin": p["m1"]},
        "cosface": {"margin": p["m3"]},
        "arcface": {"margin": p["m2"]},
        "combined_margin": {"m1": p["m1"], "m2": p["m2"], "m3": p["m3"]},
        "mv_softmax": {"margin": p["m2"], "t": p["t"]},
        "curricularface": {"margin": p["m2"]},
    }
    made = losses.build(stem, 2, classes, scale=p["s"], **settings[stem]).double().eval()
    if stem == "curricularface":
        made.t.fill_(p["t"])
    return made


STEMS = ("normface", "sphereface", "cosface", "arcface", "combined_margin", "mv_softmax", "curricularface")


@pytest.fixture
def page(browser) -> webdriver.Chrome:
    browser.get("about:blank")
    browser.get(f"{PAGE.as_uri()}?lang=en")
    return browser


def ask(page: webdriver.Chrome, expression: str, *arguments: object) -> Any:
    return page.execute_script(f"return ({expression})(...arguments)", *arguments)


@pytest.mark.parametrize("p", SETTINGS)
def test_logits_of_the_target_and_of_the_others(page, p):
    cosines = torch.cos(torch.linspace(0.01, math.pi - 0.01, 61, dtype=torch.float64))
    for stem in STEMS:
        loss = head(stem, p)
        rows = (torch.full_like(cosines, p["t"]),) if stem == "curricularface" else ()
        want = loss.target(cosines, rows)
        got = ask(page, "(stem, cs, p) => cs.map(c => target(stem, c, p))", stem, cosines.tolist(), p)
        torch.testing.assert_close(torch.tensor(got, dtype=torch.float64), want, rtol=1e-9, atol=1e-9, msg=stem)
        for own in (-0.4, 0.3, 0.8):
            columns = tuple(row[:, None] for row in rows)
            grid = cosines[:, None].clone().requires_grad_()
            others = loss.others(grid, torch.full_like(grid, own), columns)
            slope = torch.autograd.grad(others.sum(), grid)[0]
            logit = ask(page, "target", stem, own, p)
            for name, wanted in (("others", others.detach()), ("slope", slope)):
                got = ask(page, f"(stem, cs, own, p) => cs.map(c => {name}(stem, c, own, p))",
                          stem, cosines.tolist(), logit, p)  # fmt: skip
                torch.testing.assert_close(
                    torch.tensor(got, dtype=torch.float64), wanted[:, 0], rtol=1e-9, atol=1e-9, msg=f"{stem} {name}"
                )


@pytest.mark.parametrize("p", SETTINGS)
def test_pushes_are_the_gradient_of_the_loss(page, p):
    """∂L/∂cos θ_j by autograd through the package's loss, from embeddings: a weight on the circle for each cosine."""
    negatives = torch.tensor(ask(page, "() => NEGATIVES"), dtype=torch.float64)
    own = torch.tensor([math.cos(math.radians(p["theta"]))], dtype=torch.float64)
    for stem in STEMS:
        loss = head(stem, p)
        cos = torch.cat([own, negatives]).requires_grad_()
        loss.cosines = lambda x, weight, cos=cos: cos[None]  # the cosines themselves as leaves
        with torch.no_grad():
            angle = cos.acos()
            loss.weight.copy_(torch.stack([angle.cos(), angle.sin()], 1))
        loss(torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0])).backward()
        got = torch.tensor(ask(page, "pushes", stem, p), dtype=torch.float64)
        torch.testing.assert_close(got, cos.grad[1:].abs(), rtol=1e-8, atol=1e-12, msg=stem)
        share = ask(page, "shareOfHardest", stem, p)
        assert share == pytest.approx(float(cos.grad[-10:].abs().sum() / cos.grad[1:].abs().sum()), rel=1e-8)


@pytest.mark.parametrize("p", SETTINGS)
def test_the_pull_is_the_gradient_of_the_loss_by_the_angle(page, p):
    """∂L/∂θ over s by autograd through the package's loss: the own weight turned on the circle, all else at rest."""
    wrong = torch.tensor(ask(page, "() => NEGATIVES"), dtype=torch.float64).acos()
    for stem in STEMS:
        loss = head(stem, p)
        for degrees in (3.0, 20.0, 41.0, 63.0, 88.0, 118.0, 170.0):
            angles = torch.cat([torch.tensor([math.radians(degrees)], dtype=torch.float64), wrong])
            with torch.no_grad():
                loss.weight.copy_(torch.stack([angles.cos(), angles.sin()], 1))
            loss.weight.grad = None
            value = loss(torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0]))
            value.backward()
            along = torch.stack([-angles[0].sin(), angles[0].cos()])
            slope = float(loss.weight.grad[0] @ along) / p["s"]
            theta = float(angles[0])
            assert ask(page, "pull", stem, theta, p) == pytest.approx(slope, rel=1e-7, abs=1e-12), (stem, degrees)
            bare, missing = ask(page, "steepness", stem, theta, p), -math.expm1(-float(value.detach()))  # L = -log p
            assert bare * missing == pytest.approx(slope, rel=1e-7, abs=1e-12), (stem, degrees)


def test_the_pull_in_closed_form(page):
    """sin θ, sin(θ + m), m₁ sin(m₁ θ): what the thin lines are; thick, beside 100 wrong classes: less, by p."""
    p = SETTINGS[0]
    wrong = sum(math.exp(p["s"] * c) for c in ask(page, "() => NEGATIVES"))
    for theta in (0.0, 0.2, 0.7, 1.1, 1.6):
        for stem, bare, target in (
            ("normface", math.sin(theta), math.cos(theta)),
            ("cosface", math.sin(theta), math.cos(theta) - p["m3"]),
            ("arcface", math.sin(theta + p["m2"]), math.cos(theta + p["m2"])),
            ("sphereface", p["m1"] * math.sin(p["m1"] * theta), math.cos(p["m1"] * theta)),
        ):
            own = math.exp(p["s"] * target)
            assert ask(page, "steepness", stem, theta, p) == pytest.approx(bare, abs=1e-12)
            assert ask(page, "pull", stem, theta, p) == pytest.approx(bare * wrong / (wrong + own), abs=1e-12)


def test_boundaries(page):
    """Where the package's loss of two classes is log 2: there the logits tie. As the papers draw: in closed form."""
    p = SETTINGS[0]
    for stem in STEMS:
        for theta2 in (0.6, 1.0, 1.3, 1.5):
            theta1 = ask(page, "tie", stem, theta2, p, "ties")
            if theta1 is None:
                continue
            loss = head(stem, p, classes=2)
            for inside, sign in ((-1e-4, 1), (1e-4, -1)):
                angles = torch.tensor([theta1 + inside, -theta2], dtype=torch.float64)
                with torch.no_grad():
                    loss.weight.copy_(torch.stack([angles.cos(), angles.sin()], 1))
                    value = float(loss(torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0])))
                assert (math.log(2) - value) * sign > 0, (stem, theta2)
    c, t, m = math.cos(1.3), p["t"], p["m2"]
    assert ask(page, "tie", "mv_softmax", 1.3, p, "papers") == pytest.approx(math.acos((1 + t) * c + t) - m, abs=1e-9)
    assert ask(page, "tie", "curricularface", 1.3, p, "papers") == pytest.approx(math.acos(c * (t + c)) - m, abs=1e-9)
    assert ask(page, "tie", "mv_softmax", 1.3, p, "ties") == pytest.approx(1.3 - m, abs=1e-9)  # ArcFace's


def test_it_begins_with_the_margins_of_the_poster(page, monkeypatch):
    monkeypatch.syspath_prepend(PAGE.parents[1])
    boundaries = importlib.import_module("experiments.boundaries")
    start = ask(page, "() => ({...state, chosen: [...state.chosen]})")
    same = {round(float(head(stem, start).target(torch.tensor([0.5], dtype=torch.float64), ())), 3)
            for stem in ("sphereface", "cosface", "arcface")}  # fmt: skip
    assert len(same) == 1  # at θ = 60°
    assert start["m2"] == boundaries.MARGIN
    assert start["t"] == boundaries.EMPHASIS
    assert {"softmax" if stem == "normface" else stem for stem in start["chosen"]} == set(boundaries.LOSSES)


def test_answers_to_the_three_questions_are_right(page):
    """Every angle that an answer names, from formulas of its own."""
    p = ask(page, "() => ({...state, chosen: 0})")
    negatives = ask(page, "() => NEGATIVES")
    level = math.log(sum(math.exp(64 * c) for c in negatives)) / 64  # the target at which p = ½, for s = 64
    deg = math.degrees
    half = [math.acos(level), math.acos(level) - p["m2"], math.acos(level + p["m3"])]
    asked = [p["m2"], (1 - 1 / p["m1"]) * math.pi / 3, math.pi / 3 - math.acos(0.5 + p["m3"])]
    nearest = math.acos(max(negatives))
    numbers = [
        [f"{deg(angle):.0f}°" for angle in half],
        [f"{deg(angle):.1f}°" for angle in (*asked, math.pi / 3 + p["m2"])],
        [f"{deg(angle):.1f}°" for angle in (nearest, nearest - p["m2"], math.acos(1 - p["t"]))],
    ]
    for words in ask(page, "() => TEXT").values():
        for i, named in enumerate(numbers, 1):
            assert not [angle for angle in named if angle not in words[f"answer{i}"]]
    assert math.cos(math.pi / 6) + p["m3"] > 1
    right = [math.pi / 2 - math.acos(p["m3"]), p["m2"], math.pi / 2 * (1 - 1 / p["m1"])]
    assert deg(max(right) - min(right)) < 1
    assert ask(page, "pull", "arcface", math.radians(20), p) == pytest.approx(
        math.sin(math.radians(20) + 0.5) / 2, rel=0.02
    )
    at = p | {"theta": deg(nearest - p["m2"]) + 0.5}
    arc, mv, curricular = (ask(page, "pushes", stem, at)[-1] for stem in ("arcface", "mv_softmax", "curricularface"))
    assert mv > arc > curricular
    before = p | {"theta": deg(nearest - p["m2"]) - 0.5}
    assert ask(page, "pushes", "mv_softmax", before) == ask(page, "pushes", "arcface", before)


def test_a_question_sets_itself_up(page):
    for at, task in enumerate(ask(page, "() => TASKS")):
        page.find_element(By.ID, "s").send_keys(Keys.ARROW_RIGHT)
        page.find_elements(By.CSS_SELECTOR, "#tasks button")[at].send_keys(Keys.ENTER)
        assert page.find_element(By.ID, "s-value").text == "8"
        drawn = page.find_elements(By.CSS_SELECTOR, "#boundary path[data-loss]")
        assert {path.get_attribute("data-loss") for path in drawn} == set(task["chosen"])
        assert page.switch_to.active_element.get_attribute("value") == str(at)  # the keyboard stays where it was
    assert page.find_element(By.CSS_SELECTOR, "input[value=papers]").is_selected()


def test_colours_and_names_are_those_of_the_course(page):
    drawn = ask(page, "() => LOSSES")
    assert {stem: loss["colour"] for stem, loss in drawn.items()} == {stem: figures.COLOURS[stem] for stem in STEMS}
    assert {loss["name"] for stem, loss in drawn.items() if stem != "mv_softmax"} == {
        figures.NAMES[stem] for stem in STEMS if stem != "mv_softmax"
    }


def test_moving_a_setting_by_keyboard_moves_pictures_numbers_and_address(page):
    before = page.find_element(By.ID, "boundary").get_attribute("innerHTML")
    numbers = page.find_element(By.ID, "numbers").text
    slider = page.find_element(By.ID, "m2")
    slider.send_keys(*[Keys.ARROW_RIGHT] * 10)
    assert page.find_element(By.ID, "m2-value").text == "0.60 rad = 34.4°"
    assert slider.get_attribute("aria-valuetext") == "0.60 rad = 34.4°"  # what a screen reader says
    assert page.find_element(By.ID, "boundary").get_attribute("innerHTML") != before
    assert page.find_element(By.ID, "numbers").text != numbers
    assert "m2=0.6" in page.current_url
    page.find_element(By.CSS_SELECTOR, "input[value=combined_margin]").send_keys(Keys.SPACE)
    assert "Combined margin" in page.find_element(By.ID, "numbers").text
    assert len(page.find_elements(By.CSS_SELECTOR, "#boundary path[data-loss]")) == 7
    address = page.current_url
    page.get("about:blank")
    page.get(address)  # as a link that somebody was sent
    assert page.find_element(By.ID, "m2-value").text == "0.60 rad = 34.4°"
    page.find_element(By.ID, "reset").click()
    assert page.find_element(By.ID, "m2-value").text == "0.50 rad = 28.6°"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_fits_a_phone_in_both_languages_without_errors(browser, language):
    with screen(browser, 390, 800):
        browser.get("about:blank")
        browser.get(f"{PAGE.as_uri()}?lang={language}")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang").startswith(language)
        text = browser.find_element(By.TAG_NAME, "body").text
        assert bool(re.search("[一-鿿]{4}", text)) == (language == "zh")
        assert "undefined" not in text
        assert "NaN" not in browser.page_source
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_both_languages_have_the_same_words_and_nothing_comes_from_outside(page):
    words = ask(page, "() => TEXT")
    assert words["en"].keys() == words["zh"].keys()
    assert all(all(words[language].values()) for language in words)
    assert not re.search(r"(src|href)\s*=|url\(|import\s|fetch\(", PAGE.read_text(encoding="utf-8"))
