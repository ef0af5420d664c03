"""The triplet explorer: its numbers are those of the package, and it can be used without a mouse, in both languages."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from torch import Tensor

from facelearn.figures import CLASSES
from facelearn.losses import Triplet
from facelearn.losses.triplet import MININGS
from tests.browsers import needs_chromium, screen
from tools import explorers

PAGE = Path(__file__).resolve().parent.parent / "course" / "site" / "explorer_mining.html"
LABELS = torch.arange(36) % 6
PRESETS = ("fresh", "half", "end", "none")
pytestmark = needs_chromium


@pytest.fixture
def page(browser) -> webdriver.Chrome:
    browser.get("about:blank")
    browser.get(f"{PAGE.as_uri()}?lang=en")
    return browser


def ask(page: webdriver.Chrome, expression: str, *arguments: object) -> Any:
    return page.execute_script(f"return ({expression})(...arguments)", *arguments)


def placed(page: webdriver.Chrome, preset: str) -> Tensor:
    """Where a preset puts the points.  -> (36, 2)"""
    return torch.tensor(ask(page, "name => PRESETS[name]()", preset), dtype=torch.float64)


def package(x: Tensor, p: dict[str, Any]) -> tuple[float, Tensor]:
    """Loss and gradient of the package, for the batch or for one anchor.  (36, 2) -> (), (36, 2)"""
    x = x.clone().requires_grad_()
    loss = Triplet(margin=p["margin"], mining=p["mining"], soft=p["soft"], normalize=False,
                   reduction="none" if p["of"] == "one" else "mean")(x, LABELS)  # fmt: skip
    loss = loss[p["anchor"]] if p["of"] == "one" else loss
    (gradient,) = torch.autograd.grad(loss, x)
    return loss.item(), gradient


def settings(**changed: Any) -> dict[str, Any]:
    return {"margin": 0.2, "mining": "all", "soft": False, "of": "batch", "moves": "together", "anchor": 0} | changed


def after(page: webdriver.Chrome, task: dict[str, str], steps: int) -> dict[str, Any]:
    """What the page says of the batch after so many steps; of the places it has come to, the package says the same."""
    run = """(task, steps) => {
        start(task);
        for (let i = 0; i < steps; i++) step();
        return {...evaluate(POINTS, state.x, state), spread: spread(state.x), x: state.x};
    }"""
    got = ask(page, run, task, steps)
    loss, _ = package(torch.tensor(got["x"], dtype=torch.float64), settings(mining=task["mining"]))
    assert got["loss"] == pytest.approx(loss, abs=1e-9)
    return got


@pytest.mark.parametrize("preset", PRESETS)
def test_loss_and_gradient_are_those_of_the_package(page, preset):
    x = placed(page, preset)
    for mining, soft, of, margin in product(MININGS, (False, True), ("batch", "one"), (0.0, 0.2, 0.7)):
        p = settings(mining=mining, soft=soft, of=of, margin=margin, anchor=7)
        got = ask(page, "(x, p) => evaluate(anchors(p), x, p)", x.tolist(), p)
        loss, gradient = package(x, p)
        assert got["loss"] == pytest.approx(loss, rel=1e-9, abs=1e-12), p
        shown = torch.tensor(got["gradient"], dtype=torch.float64)
        torch.testing.assert_close(shown, gradient, rtol=1e-8, atol=1e-12, msg=str(p))


@pytest.mark.parametrize("preset", PRESETS)
def test_who_is_mined(page, preset):
    """By the words of the class's docstring, triplet by triplet; and as many as the package counts."""
    x = placed(page, preset)
    d = (x[:, None] - x).square().sum(2)
    for mining, anchor in product(MININGS, (0, 10, 28)):
        own = [i for i in range(36) if LABELS[i] == LABELS[anchor] and i != anchor]
        other = [i for i in range(36) if LABELS[i] != LABELS[anchor]]
        everybody = set(product(own, other))
        want = {
            "all": everybody,
            "semi-hard": {(p, n) for p, n in everybody if d[anchor, p] < d[anchor, n] < d[anchor, p] + 0.2},
            "batch-hard": {(max(own, key=d[anchor].__getitem__), min(other, key=d[anchor].__getitem__))},
        }[mining]
        p = settings(mining=mining)
        got = ask(page, "mined", anchor, x.tolist(), p)
        assert {(p, n) for p, n, _ in got} == want, (mining, anchor)
        assert len(got) == len(want)
        assert all(gap == pytest.approx(float(d[anchor, p] - d[anchor, n]), abs=1e-12) for p, n, gap in got)
        batch = ask(page, "(x, p) => evaluate(POINTS, x, p)", x.tolist(), p)
        _, counts = Triplet(mining=mining, normalize=False).per_sample(x, LABELS)
        assert batch["count"] == int(counts.sum())


@pytest.mark.parametrize(("moves", "of"), list(product(("together", "alone"), ("batch", "one"))))
def test_a_step_goes_against_the_gradient_of_the_package(page, moves, of):
    start, x = placed(page, "fresh"), placed(page, "half")
    p = settings(mining="batch-hard", moves=moves, of=of)
    _, gradient = package(x, p)
    if moves == "together":
        near = torch.exp(-(start[:, None] - start).square().sum(2) / (2 * 0.3**2))  # (36, 36)
        gradient = near @ gradient / near.sum(1).mean()
    want = x - (0.36 if of == "batch" else 0.05) * gradient
    got = torch.tensor(ask(page, "stepped", x.tolist(), start.tolist(), p), dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


def test_the_first_answer_is_right(page):
    """Collapse under batch-hard, none under semi-hard; alone the points get out again."""
    fresh, answers = placed(page, "fresh"), [words["answer1"] for words in ask(page, "() => TEXT").values()]
    loss, gradient = package(fresh, settings(mining="batch-hard"))
    inwards = int(((-gradient * fresh).sum(1) < 0).sum())
    hard, semi = (after(page, {"mining": mining}, 150) for mining in ("batch-hard", "semi-hard"))
    begin = after(page, {"mining": "semi-hard"}, 0)["spread"][1]
    alone = [after(page, {"mining": "batch-hard", "moves": "alone"}, steps) for steps in (20, 75, 90)]
    assert hard["active"] == hard["count"] == 36
    assert 0.2 < hard["loss"] < 0.21
    assert hard["spread"][1] < 0.02 < 1 < semi["spread"][1]
    assert alone[1]["loss"] > alone[2]["loss"] == 0
    for named in (loss, hard["loss"]):
        assert all(f"{named:.3f}" in words for words in answers)
    for named in (begin, semi["spread"][1], alone[0]["spread"][1]):
        assert all(f"{named:.2f}" in words for words in answers)
    assert all(f"{inwards} " in words and "80" in words for words in answers)


def test_the_second_answer_is_right(page):
    """Near the end: few triplets cost anything, and semi-hard takes just these."""
    x, answers = placed(page, "end"), [words["answer2"] for words in ask(page, "() => TEXT").values()]
    everything, semi, hard = (after(page, {"preset": "end", "mining": mining}, 0) for mining in MININGS)
    (loss, gradient), (semi_loss, semi_gradient) = (package(x, settings(mining=mining)) for mining in MININGS[:2])
    assert everything["active"] == semi["active"] == semi["count"]
    times = everything["count"] / everything["active"]
    torch.testing.assert_close(semi_gradient, times * gradient, rtol=1e-9, atol=1e-12)
    longest = gradient.norm(dim=1).max()
    astray = ask(
        page,
        """x => POINTS.flatMap(a => mined(a, x, {mining: "semi-hard", margin: 0.2})
        .filter(([p, n]) => [a, p, n].some(i => [7, 15].includes(i)))).length""",
        x.tolist(),
    )
    share = 100 * everything["active"] / everything["count"]
    named = (everything["active"], astray, everything["count"], f"{share:.1f} %", f"{loss:.4f}", f"{longest:.3f}",
             f"{semi_loss:.3f}", f"{times:.0f}", hard["active"])  # fmt: skip
    assert not [(number, words) for words in answers for number in named if str(number) not in words]
    assert after(page, {"preset": "end", "mining": "batch-hard"}, 150)["loss"] == 0


def test_the_third_answer_is_right(page):
    """No negative in the band of any positive, four inside the rings of all."""
    x, answers = placed(page, "none"), [words["answer3"] for words in ask(page, "() => TEXT").values()]
    d = (x - x[0]).square().sum(1)
    own, other = d[LABELS == 0][1:], d[LABELS != 0]
    assert int((other < own.min()).sum()) == 4
    assert all(other[other > own.min()] > own.max() + 0.2)
    assert float(d.argsort()[1]) == 1  # point 1 is the nearest
    first = next(m / 100 for m in range(101) if package(x, settings(mining="semi-hard", of="one", margin=m / 100))[0])
    loss, gradient = package(x, settings(mining="batch-hard", of="one"))
    pulled, pushed = gradient[LABELS == 0][1:].norm(dim=1).max(), gradient[1].norm()
    named = (f"m = {first:.2f}" if first else "", f"{loss:.2f}", f"{pulled:.2f}", f"{pushed:.2f}")
    assert not [number for number in named if number not in answers[0]]
    assert not [number for number in named if number.removeprefix("m = ") not in answers[1]]


def test_it_says_what_has_happened(page):
    def said(js: str) -> str:
        page.execute_script(js)
        return page.find_element(By.ID, "says").get_attribute("data-says")

    assert said("start(); draw()") == "works"
    assert "35 of 36 arrows" in page.find_element(By.ID, "says").text  # as many as the first answer names
    assert said("for (let i = 0; i < 150; i++) step(); draw()") == "collapsed"
    assert "Collapse" in page.find_element(By.ID, "says").text
    assert said("start(TASKS[2]); controls(); draw()") == "nothing"
    assert said("start({preset: 'end', of: 'one', mining: 'all'}); controls(); draw()") == "satisfied"
    assert page.find_elements(By.CSS_SELECTOR, "[data-arrow]") == []  # what costs nothing pulls nobody


def test_arrows_point_against_the_gradient(page):
    page.execute_script("start({preset: 'half', mining: 'all'}); controls(); draw()")
    _, gradient = package(placed(page, "half"), settings())
    arrows = page.find_elements(By.CSS_SELECTOR, "[data-arrow]")
    assert len(arrows) > 20
    lengths, sizes = [], []
    for arrow in arrows:
        i = int(arrow.get_attribute("data-arrow"))
        ends = [float(v) for v in re.split(r"[ML ]", arrow.get_attribute("d"))[1:5]]
        drawn = torch.tensor([ends[2] - ends[0], ends[1] - ends[3]], dtype=torch.float64)
        lengths.append(drawn.norm())
        sizes.append(gradient[i].norm())
        assert torch.cosine_similarity(drawn, -gradient[i], dim=0) > 1 - 1e-9
    ratios = torch.stack(lengths) / torch.stack(sizes)
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios))


def test_everything_works_by_keyboard(page):
    page.find_element(By.ID, "dot10").send_keys(Keys.ARROW_RIGHT)
    moved = ask(page, "() => state.x[10]")
    start = placed(page, "fresh")[10].tolist()
    assert moved == pytest.approx([start[0] + 0.05, start[1]])
    page.find_element(By.ID, "dot10").send_keys(Keys.SHIFT, Keys.ARROW_UP)
    assert ask(page, "() => state.x[10]") == pytest.approx([start[0] + 0.05, start[1] + 0.01])
    page.find_element(By.ID, "dot10").send_keys("n")
    assert page.switch_to.active_element.get_attribute("id") == "dot11"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert ask(page, "() => state.anchor") == 11
    assert "the anchor" in page.find_element(By.ID, "dot11").get_attribute("aria-label")
    assert len(page.find_elements(By.CSS_SELECTOR, ".dot[tabindex='0']")) == 1  # one stop for Tab
    page.find_element(By.ID, "margin").send_keys(*[Keys.ARROW_RIGHT] * 10)
    assert page.find_element(By.ID, "margin-value").text == "0.30"
    page.find_element(By.CSS_SELECTOR, "input[value=all]").send_keys(Keys.SPACE)
    assert page.find_element(By.CSS_SELECTOR, "[data-row=count]").text.endswith("150 5400")
    page.find_element(By.ID, "step").send_keys(Keys.ENTER)
    address, x = page.current_url, ask(page, "() => state.x.flat()")
    page.get("about:blank")
    page.get(address)  # as a link that somebody was sent
    assert ask(page, "() => [state.anchor, state.mining, state.steps, state.margin]") == [11, "all", 1, 0.3]
    assert ask(page, "() => state.x.flat()") == pytest.approx(x, abs=1e-3)
    page.find_element(By.ID, "reset").click()
    assert ask(page, "() => [state.steps, state.mining, state.x[10]]") == [0, "batch-hard", start]


def test_a_point_is_dragged_by_mouse_and_by_finger(page):
    start = ask(page, "() => state.x[3]")
    drag = ActionChains(page).click_and_hold(page.find_element(By.ID, "dot3")).move_by_offset(40, -20).release()
    drag.perform()
    moved = ask(page, "() => state.x[3].concat(pixels * element('plane').getScreenCTM().a)")
    assert moved[0] - start[0] == pytest.approx(40 / moved[2], abs=0.02)
    assert moved[1] - start[1] == pytest.approx(20 / moved[2], abs=0.02)
    with screen(page, 390, 800):
        page.execute_script("start(); controls(); draw()")
        box = ask(page, "() => { const b = element('dot3').getBoundingClientRect();"
                        " return {x: b.x + b.width / 2, y: b.y + b.height / 2, scrolled: scrollY}; }")  # fmt: skip
        for kind, dy in (("touchStart", 0), ("touchMove", 15), ("touchMove", 30), ("touchEnd", None)):
            touched = [] if dy is None else [{"x": box["x"], "y": box["y"] + dy}]
            page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
        assert ask(page, "() => state.x[3]")[1] < start[1] - 0.1
        assert ask(page, "() => scrollY") == box["scrolled"]  # the finger has moved the point, not the page


def test_run_draws_the_way_and_back_keeps_the_line_to_compare(page):
    page.find_element(By.ID, "run").click()
    page.find_element(By.ID, "run").click()
    page.execute_script("for (let i = 0; i < 5; i++) step(); draw()")
    page.find_element(By.ID, "back").click()
    page.find_element(By.CSS_SELECTOR, "input[value=semi-hard]").click()
    page.find_element(By.ID, "step").click()
    drawn = [line.get_attribute("data-run") for line in page.find_elements(By.CSS_SELECTOR, "#losses [data-run]")]
    assert drawn == ["batch-hard", "semi-hard"]


@pytest.mark.parametrize(("language", "width"), list(product(("en", "zh"), (390, 1280))))
def test_fits_phone_and_desk_in_both_languages_without_errors(browser, language, width):
    with screen(browser, width, 800):
        browser.get("about:blank")
        browser.get(f"{PAGE.as_uri()}?lang={language}")
        for preset in PRESETS:
            browser.execute_script("start({preset: arguments[0]}); controls(); draw(); step(); draw()", preset)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert "NaN" not in browser.page_source
            text = browser.find_element(By.TAG_NAME, "body").text
            assert "undefined" not in text
            assert bool(re.search("[一-鿿]{4}", text)) == (language == "zh")
        assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang").startswith(language)
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_both_languages_have_the_same_words_and_nothing_comes_from_outside(page):
    words = ask(page, "() => TEXT")
    assert words["en"].keys() == words["zh"].keys()
    assert not re.search(r"(src|href)\s*=|url\(|import\s|fetch\(", PAGE.read_text(encoding="utf-8"))


def test_classes_have_the_colours_of_the_course(page):
    assert tuple(ask(page, "() => SHADES")) == CLASSES[:6]


def test_what_the_explorers_share_is_the_same_in_both():
    text = PAGE.read_text(encoding="utf-8")
    assert len(explorers.SHARED.findall(text)) == 2
    assert explorers.filled(text, explorers.SOURCE.read_text(encoding="utf-8")) == text, "run tools/explorers.py"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_number_of_a_class_can_be_read_on_its_dot(page, preset):
    """A contrast of 4.5 or more, on the dot as it is seen over the paper and over the zones."""

    def luminance(shade: Tensor) -> float:
        linear = torch.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
        return float(linear @ torch.tensor([0.2126, 0.7152, 0.0722]))

    page.execute_script("start({preset: arguments[0], mining: 'semi-hard'}); controls(); draw()", preset)
    dots = ask(
        page,
        """() => POINTS.map(i => { const [, , disc, number] = element(`dot${i}`).children;
        return [disc.getAttribute("fill"), disc.getAttribute("fill-opacity"), getComputedStyle(number).fill]; })""",
    )
    grounds = ("#fbfbfa", *ask(page, "() => Object.values(ZONES)"))

    def rgb(shade: str) -> Tensor:
        return torch.tensor([int(shade[k : k + 2], 16) / 255 for k in (1, 3, 5)])

    for shade, opacity, ink in dots:
        written = luminance(torch.tensor([int(v) / 255 for v in re.findall(r"\d+", ink)]))
        for ground in grounds:
            seen = luminance(float(opacity) * rgb(shade) + (1 - float(opacity)) * rgb(ground))
            bright, dark = max(seen, written), min(seen, written)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (shade, opacity, ink, ground)
