"""The circle explorer: its numbers are those of the package, and it can be used without a mouse, in both languages."""

from __future__ import annotations

import math
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from torch import Tensor

from facelearn.losses import Circle, CosFace, Triplet
from tests.browsers import needs_chromium, screen, wait
from tools import explorer_batch, explorers

PAGE = Path(__file__).resolve().parent.parent / "course" / "site" / "explorer_circle.html"
STARTS = {"margin": 0.5, "s": 30.0, "m": 0.25, "gamma": 256.0}
SETTINGS = [
    STARTS,
    {"margin": 0.1, "s": 4.0, "m": 0.4, "gamma": 8.0},
    {"margin": 0.0, "s": 64.0, "m": 0.1, "gamma": 1.0},
]
LOSSES = ("triplet", "am", "circle", "through")
PRESETS = ("hand", "hardest", "next")
pytestmark = needs_chromium


@pytest.fixture
def page(browser) -> webdriver.Chrome:
    browser.get("about:blank")
    browser.get(f"{PAGE.as_uri()}?lang=en")
    return browser


def ask(page: webdriver.Chrome, expression: str, *arguments: object) -> Any:
    return page.execute_script(f"return ({expression})(...arguments)", *arguments)


def numbers(page: webdriver.Chrome, expression: str, *arguments: object) -> Tensor:
    return torch.tensor(ask(page, expression, *arguments), dtype=torch.float64)


def placed(page: webdriver.Chrome, preset: str) -> Tensor:
    """Where a preset puts the points.  -> (N, 2), [s_n, s_p]"""
    return numbers(page, "name => PRESETS[name]()", preset)


def places() -> Tensor:
    """All over the square, none on a kink.  -> (N, 2)"""
    n, p = torch.linspace(-0.49, 0.97, 12, dtype=torch.float64), torch.linspace(-0.19, 0.97, 10, dtype=torch.float64)
    return torch.cartesian_prod(n, p)


def vectors(at: Tensor) -> Tensor:
    """Three of length 1: an anchor, one of similarity s_p to it, one of s_n.  (2,) -> (3, 3)"""
    n, p = at
    one, zero = torch.ones_like(n), torch.zeros_like(n)
    rows = [(one, zero, zero), (p, (1 - p * p).sqrt(), zero), (n, zero, (1 - n * n).sqrt())]
    return torch.stack([torch.stack(row) for row in rows])


def package(loss: str, at: Tensor, p: dict[str, float]) -> Tensor:
    """The loss of the package at one point, by its public classes.  (2,) -> ()"""
    labels = torch.tensor([0, 0, 1])
    if loss == "triplet":  # squared distances of unit vectors are 2 - 2 s
        return Triplet(margin=2 * p["margin"], reduction="none")(vectors(at), labels)[0] / 2
    if loss == "circle":
        return Circle(margin=p["m"], gamma=p["gamma"], reduction="none")(vectors(at), labels)[0]
    head = CosFace(3, 2, scale=p["s"], margin=p["margin"]).double()
    rows = vectors(at)
    return torch.func.functional_call(head, {"weight": rows[1:]}, (rows[:1], torch.tensor([0])))


def through(at: Tensor, p: dict[str, float]) -> Tensor:
    """Circle loss with its α in the graph.  (..., 2) -> (...)"""
    n, s_p, m = at[..., 0], at[..., 1], p["m"]
    return F.softplus(p["gamma"] * ((n + m).clamp(min=0) * (n - m) - (1 + m - s_p).clamp(min=0) * (s_p - (1 - m))))


def slopes(function: Any, at: Tensor, p: dict[str, float]) -> tuple[float, Tensor]:
    at = at.clone().requires_grad_()
    value = function(at, p)
    return value.item(), torch.autograd.grad(value, at)[0]


def many(loss: str, x: Tensor, p: dict[str, float]) -> Tensor:
    """-∂L/∂[s_n, s_p] over the scale, for many points at once.  (N, 2) -> (N, 2)"""
    x = x.clone().requires_grad_()
    if loss == "triplet":
        value = (x[:, 0] - x[:, 1] + p["margin"]).relu()
    elif loss == "am":
        value = F.softplus(p["s"] * (x[:, 0] - x[:, 1] + p["margin"])) / p["s"]
    elif loss == "circle":
        own = torch.zeros(len(x), 1, dtype=torch.long)
        kinds = torch.tensor([[False, True]]).expand(len(x), 2)
        value = Circle(margin=p["m"], gamma=p["gamma"]).terms(x.flip(1), own, own == 0, kinds)[0] / p["gamma"]
    else:
        value = through(x, p) / p["gamma"]
    return -torch.autograd.grad(value.sum(), x)[0]


def after(loss: str, x: Tensor, p: dict[str, float], steps: int = 200) -> Tensor:
    low, high = torch.tensor([-0.5, -0.2], dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    for _ in range(steps):
        x = (x + 0.02 * many(loss, x, p)).clamp(low, high)
    return x


@pytest.mark.parametrize("p", SETTINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient_are_those_of_the_package(page, loss, p):
    x = places()
    got = ask(page, "(loss, x, p) => x.map(at => evaluate(loss, at, p))", loss, x.tolist(), p)
    for at, shown in zip(x, got, strict=True):
        value, gradient = slopes(through if loss == "through" else lambda at, p: package(loss, at, p), at, p)
        assert shown["loss"] == pytest.approx(value, rel=1e-9, abs=1e-12), at
        drawn = torch.tensor(shown["gradient"], dtype=torch.float64)
        torch.testing.assert_close(drawn, gradient, rtol=1e-7, atol=1e-9, msg=f"{loss} {at}")


def test_alpha_differentiated_is_the_slope_of_the_value_and_circle_is_not(page):
    """By differences of the package's Circle: its value falls along the one gradient, not along the other."""
    p, h = SETTINGS[1], 1e-5
    for at in places()[::7]:
        sides = torch.eye(2, dtype=torch.float64) * h
        slope = [(package("circle", at + side, p) - package("circle", at - side, p)) / (2 * h) for side in sides]
        want = torch.stack(slope)
        got, other = (
            numbers(page, "(loss, at, p) => evaluate(loss, at, p).gradient", loss, at.tolist(), p)
            for loss in ("through", "circle")
        )
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
        if float(want.norm()) > 0.1 and -p["m"] < float(at[0]):
            assert not torch.allclose(other, want, rtol=0.02)
            assert (float(got[0]) < 0) == (float(at[0]) < 0)  # raised, where s_n is below 0
            assert float(other[0]) > 0  # under Circle always pushed


@pytest.mark.parametrize("p", SETTINGS)
def test_where_the_arrows_aim(page, p):
    """Circle's all at (-m, 1 + m), those through α at (0, 1); the others' all up to the left, by 45 degrees."""
    m, x = p["m"], places()
    x = x[x[:, 0] > -m]
    for loss, aim in (("circle", (-m, 1 + m)), ("through", (0.0, 1.0))):
        force = numbers(page, "(loss, x, p) => x.map(at => force(loss, at, p))", loss, x.tolist(), p)
        way = torch.tensor(aim, dtype=torch.float64) - x
        felt = force.norm(dim=1) > 1e-6
        assert felt.sum() > 30
        assert (torch.cosine_similarity(force, way)[felt] > 1 - 1e-9).all()
    for loss in ("triplet", "am"):
        force = numbers(page, "(loss, x, p) => x.map(at => force(loss, at, p))", loss, x.tolist(), p)
        torch.testing.assert_close(force[:, 0], -force[:, 1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_field_is_drawn_against_the_gradient(page, loss):
    page.execute_script("start({loss: arguments[0]}); controls(); draw()", loss)
    starts, drawn = [], []
    for path in page.find_elements(By.CSS_SELECTOR, "#field [data-way]"):
        for x0, y0, x1, y1 in re.findall(r"M([\d.-]+) ([\d.-]+)L([\d.-]+) ([\d.-]+)M", path.get_attribute("d")):
            ends = torch.tensor([float(v) for v in (x0, y0, x1, y1)], dtype=torch.float64)
            middle = (ends[:2] + ends[2:]) / 2
            starts.append(torch.stack([(middle[0] - 42) / 208 - 0.5, 1.3 - (middle[1] - 6) / 208]))
            drawn.append(torch.stack([ends[2] - ends[0], ends[1] - ends[3]]))
    x = torch.stack(starts)
    kink = x[:, 0] + STARTS["m"] if loss == "through" else x[:, 0] - x[:, 1] + STARTS["margin"]
    kink = kink.abs() < 1e-3
    assert (~kink).sum() > 100
    torch.testing.assert_close(torch.stack(drawn)[~kink], 8 * many(loss, x, STARTS)[~kink], rtol=1e-3, atol=4e-3)
    wrong = page.find_element(By.CSS_SELECTOR, "[data-way=wrong]").get_attribute("d")
    assert bool(wrong) == (loss == "through")


@pytest.mark.parametrize(("loss", "p"), list(product(LOSSES, SETTINGS[:2])))
def test_boundary_and_level_lines(page, loss, p):
    """On the boundary the triplet's loss just ends and the others are log 2; along a level line L is the same."""
    page.execute_script("start({...arguments[0], loss: arguments[1], levels: true}); controls(); draw()", p, loss)

    def inside(path: str) -> list[Tensor]:
        pairs = [[float(v) for v in pair.split()] for pair in path[1:].split("L")]
        x = torch.tensor([[(a - 42) / 208 - 0.5, 1.3 - (b - 6) / 208] for a, b in pairs], dtype=torch.float64)
        if len(x) == 2:  # a line has its ends outside
            x = x[0] + torch.linspace(0, 1, 30, dtype=torch.float64)[:, None] * (x[1] - x[0])
        return [at for at in x if -0.5 <= at[0] <= 0.999 and -0.2 <= at[1] <= 0.999]

    def cost(at: Tensor) -> float:
        return float(through(at, p) if loss in ("circle", "through") else package(loss, at, p))

    scale = {"triplet": 1.0, "am": p["s"]}.get(loss, p["gamma"])
    edge = inside(page.find_element(By.ID, "edge").get_attribute("d"))
    assert len(edge) > 5
    ends = [0 if loss == "triplet" else math.log(2)] * len(edge)
    assert [cost(at) for at in edge] == pytest.approx(ends, abs=1e-4 * scale)
    if loss == "circle":
        arc = [at for at in edge if at[0] > -p["m"]]
        radii = [math.dist(at.tolist(), (0, 1)) for at in arc]
        assert radii == pytest.approx([math.sqrt(2) * p["m"]] * len(arc), abs=1e-4)
    levels = page.find_elements(By.CSS_SELECTOR, "[data-level]")
    assert len(levels) >= 4
    for path in levels:
        costs = [cost(at) for at in inside(path.get_attribute("d"))]
        assert max(costs, default=0) - min(costs, default=0) < 2e-4 * scale
    shown = [float(text.text.removeprefix("L = ")) for text in page.find_elements(By.CSS_SELECTOR, "#field text")]
    known = [cost(at) for path in levels for at in inside(path.get_attribute("d"))[:1]]
    assert shown
    assert all(any(value == pytest.approx(one, rel=0.006) for one in known) for value in shown)


@pytest.mark.parametrize(("preset", "loss"), list(product(PRESETS, LOSSES)))
def test_points_move_against_the_gradient_of_the_package(page, preset, loss):
    start = placed(page, preset)
    got = numbers(page, "(loss, x, p) => stepped(loss, x, p)", loss, start.tolist(), STARTS)
    torch.testing.assert_close(got, after(loss, start, STARTS, 1), rtol=1e-9, atol=1e-12)
    ends = numbers(page, "(loss, x, p) => ends(x, p)[loss]", loss, start.tolist(), STARTS)
    torch.testing.assert_close(ends, after(loss, start, STARTS), rtol=1e-6, atol=1e-8)


def test_the_batch_is_what_the_net_says_of_drawn_faces(page):
    x, labels = explorer_batch.embeddings()
    assert x.shape == (48, 64)
    made = explorer_batch.points(x, labels)
    for name in ("hardest", "next"):
        torch.testing.assert_close(placed(page, name), made[name].double(), rtol=0, atol=0.0016)
    hardest, following = placed(page, "hardest"), placed(page, "next")
    for margin in (0.1, 0.5, 0.9):  # Triplet mines the same pairs
        want = Triplet(margin=2 * margin, mining="batch-hard", reduction="none")(x, labels).double() / 2
        got = (hardest[:, 0] - hardest[:, 1] + margin).relu()
        torch.testing.assert_close(got, want, rtol=0, atol=0.0025)
    for i, (n, p) in enumerate(following.tolist()):  # by hand
        own, other = 4 * (i // 4) + (i + 1) % 4, (i + 4) % 48
        assert labels[own] == labels[i] != labels[other]
        assert [n, p] == pytest.approx([float(x[i] @ x[other]), float(x[i] @ x[own])], abs=0.0016)
    assert (hardest[:, 0] >= following[:, 0]).all()
    assert (hardest[:, 1] <= following[:, 1]).all()


def test_the_batch_stands_in_the_page_as_the_tool_writes_it(page):
    batch = ask(page, "() => BATCH")
    tensors = {name: torch.tensor(values).view(-1, 2) / 1000 for name, values in batch.items()}
    (found,) = explorer_batch.LINE.findall(PAGE.read_text(encoding="utf-8"))
    assert found == explorer_batch.line(tensors)


def test_the_first_answer_is_right(page):
    answers = [words["answer1"] for words in ask(page, "() => TEXT").values()]
    x = placed(page, "hand")[:3]
    assert (x[:, 0] == x[:, 1]).all()
    for loss in ("triplet", "am"):
        force = many(loss, x, STARTS)
        assert (force.abs() > 0.999).all()
        assert len({round(float(package(loss, at, STARTS)), 9) for at in x}) == 1
    pull = many("circle", x, STARTS)[:, 1] / -many("circle", x, STARTS)[:, 0]
    named = (f"{1 / pull[0]:.1f}", f"{pull[1]:.1f}", f"{pull[2]:.1f}")
    assert not [(number, words) for words in answers for number in named if number not in words]


def test_the_second_answer_is_right(page):
    answers = [words["answer2"] for words in ask(page, "() => TEXT").values()]
    x = placed(page, "hardest")
    ends = {loss: after(loss, x, STARTS) for loss in LOSSES}
    gaps = {loss: float(at[:, 1].min() - at[:, 0].max()) for loss, at in ends.items()}
    stopped = ends["triplet"]
    assert gaps["triplet"] < 0  # no threshold
    assert float((stopped[:, 1] - stopped[:, 0] - STARTS["margin"]).min()) >= 0  # and yet every anchor is right
    past = float((ends["am"][:, 1] - ends["am"][:, 0]).min()) - STARTS["margin"]
    r = math.sqrt(2) * STARTS["m"]
    assert float(ends["circle"][:, 0].max()) <= r
    assert float(ends["circle"][:, 1].min()) >= 1 - r
    wide = after("triplet", x, STARTS | {"margin": 0.9})
    named = (f"{stopped[:, 0].max():.2f}", f"{stopped[:, 1].min():.2f}", f"{gaps['circle']:.2f}", f"{gaps['am']:.2f}",
             f"{past:.2f}", f"{wide[:, 1].min() - wide[:, 0].max():.2f}")  # fmt: skip
    assert not [(number, words) for words in answers for number in named if number not in words]
    m = STARTS["m"]  # the line touches the arc, in (m, 1 - m)
    assert STARTS["margin"] == 1 - 2 * m
    assert all(f"({m}, {1 - m})" in words for words in answers)
    assert ask(page, "() => { start(); return SLIDERS; }").keys() == STARTS.keys()
    assert ask(page, "() => Object.keys(SLIDERS).map(name => state[name])") == list(STARTS.values())


def test_the_third_answer_is_right(page):
    answers = [words["answer3"] for words in ask(page, "() => TEXT").values()]
    x = placed(page, "next")
    below = x[:, 0] < 0
    force, end = many("through", x, STARTS), after("through", x, STARTS)
    raised = below & (force[:, 0] > 0) & (force.abs().amax(1) >= 0.01)
    assert (end[raised, 0] > x[raised, 0] + 0.005).all()
    assert (end[below & ~raised, 0] < x[below & ~raised, 0] + 0.005).all()
    gaps = [float(at[:, 1].min() - at[:, 0].max()) for at in (end, after("circle", x, STARTS))]
    near = torch.tensor([[0.9, 0.9]], dtype=torch.float64)
    pulls = [float(many(loss, near, STARTS)[0, 1]) for loss in ("through", "circle")]
    named = (f"{int(below.sum())} ", f"{int(raised.sum())} ", *(f"{v:.2f}" for v in (*gaps, *pulls)))
    assert not [(number, words) for words in answers for number in named if number not in words]


def test_it_says_who_works_harder_on_what(page):
    def said(js: str) -> tuple[str, str]:
        page.execute_script(f"start(); {js}; controls(); draw()")
        says = page.find_element(By.ID, "says")
        return says.get_attribute("data-says"), says.text

    assert said("") == ("push", "Point A, s_n = 0.75, s_p = 0.75: s_n is pushed 2.0 × as hard as s_p is pulled, "
                                "since s_n is further off.")  # fmt: skip
    what, words = said("state.at = 2")
    assert what == "pull"
    assert "s_p is pulled 4.0 × as hard as s_n is pushed" in words
    for loss in ("triplet", "am"):
        what, words = said(f"state.loss = '{loss}'; state.at = 1")
        assert what == "equal"
        assert "exactly as hard" in words
        assert "everywhere" in words
    what, words = said("state.loss = 'through'; state.at = 3")
    assert what == "wrong"
    assert "the wrong way. s_p is pulled 2.5 × as hard as s_n is raised" in words
    what, words = said("state.x = [[0.3, 0.7]]")
    assert what == "equal"
    assert "equally far off" in words
    assert said("state.x = [[-0.4, 0.3]]")[0] == "onlyPull"
    assert said("state.loss = 'through'; state.x = [[0.9, 1]]")[0] == "onlyPush"
    assert said("state.x = [[0, 0.95]]")[0] == "alone"
    assert said("for (let i = 0; i < 200; i++) step()")[0] == "alone"


def test_the_table_has_the_numbers_of_the_point_in_hand(page):
    page.execute_script("start({loss: 'through'}); state.at = 3; controls(); draw()")
    at = placed(page, "hand")[3]
    for loss in LOSSES:
        cells = [c.text for c in page.find_elements(By.CSS_SELECTOR, f"[data-row={loss}] td")]
        value, gradient = slopes(through if loss == "through" else lambda at, p: package(loss, at, p), at, STARTS)  # noqa: B023
        values = [float(cell.replace("−", "-")) for cell in cells[:3]]
        assert values == pytest.approx([value, *gradient.tolist()], abs=0.051)
    assert cells[3] == "wrong way"
    assert "s_n = −0.20, s_p = 0.50" in page.find_element(By.ID, "numbers").text


def test_squares_below_say_where_the_points_are_left(page):
    page.execute_script("start({preset: 'hardest'}); controls(); draw()")
    x = placed(page, "hardest")
    for loss in LOSSES:
        end = after(loss, x, STARTS)
        p, n = float(end[:, 1].min()), float(end[:, 0].max())
        words = page.find_element(By.CSS_SELECTOR, f"[data-end={loss}] p").text
        kind = "a gap of" if p > n else "an overlap of"
        assert words == f"s_n up to {n:.2f}, s_p from {p:.2f}: {kind} {abs(p - n):.2f}"
        assert len(page.find_elements(By.CSS_SELECTOR, f"[data-end={loss}] circle")) == 48


def test_everything_works_by_keyboard(page):
    page.find_element(By.ID, "dot0").send_keys(Keys.ARROW_LEFT)
    assert ask(page, "() => state.x[0]") == pytest.approx([0.7, 0.75])
    page.find_element(By.ID, "dot0").send_keys(Keys.SHIFT, Keys.ARROW_UP)
    assert ask(page, "() => state.x[0]") == pytest.approx([0.7, 0.76])
    page.find_element(By.ID, "dot0").send_keys(*[Keys.ARROW_UP] * 9)
    assert ask(page, "() => state.x[0]") == pytest.approx([0.7, 1])  # no similarity is above 1
    page.find_element(By.ID, "dot0").send_keys("p")
    assert page.switch_to.active_element.get_attribute("id") == "dot3"
    assert page.find_element(By.ID, "dot3").get_attribute("aria-label") == "Point D, s_n = −0.20, s_p = 0.50"
    assert len(page.find_elements(By.CSS_SELECTOR, ".dot[tabindex='0']")) == 1  # one stop for Tab
    page.find_element(By.ID, "gamma").send_keys(*[Keys.ARROW_LEFT] * 6)
    assert page.find_element(By.ID, "gamma-value").text == "250"
    assert not page.find_element(By.ID, "margin").is_displayed()  # that of the two others
    page.find_element(By.CSS_SELECTOR, "input[value=am]").send_keys(Keys.SPACE)
    assert page.find_element(By.ID, "margin").is_displayed()
    assert not page.find_element(By.ID, "gamma").is_displayed()
    page.find_element(By.ID, "levels").send_keys(Keys.SPACE)
    page.find_element(By.ID, "boundary").send_keys(Keys.SPACE)
    assert page.find_elements(By.CSS_SELECTOR, "[data-level]")
    assert not page.find_elements(By.ID, "edge")
    page.find_element(By.ID, "step").send_keys(Keys.ENTER)
    address, x = page.current_url, ask(page, "() => state.x.flat()")
    page.get("about:blank")
    page.get(address)  # as a link that somebody was sent
    kept = ask(page, "() => [state.loss, state.steps, state.gamma, state.at, state.levels, state.boundary]")
    assert kept == ["am", 1, 250, 3, True, False]
    assert ask(page, "() => state.x.flat()") == pytest.approx(x, abs=1e-3)
    page.find_element(By.ID, "back").click()
    assert ask(page, "() => [state.steps, ...state.x[0]]") == pytest.approx([0, 0.7, 1])
    page.find_element(By.ID, "reset").click()
    assert ask(page, "() => [state.steps, state.loss, ...state.x[0]]") == [0, "circle", 0.75, 0.75]


def test_let_go_moves_all_and_stops_and_can_be_stopped(page):
    run = page.find_element(By.ID, "run")
    run.click()
    assert run.text == "Stop"
    wait(page, lambda b: ask(b, "() => state.steps") > 2, 10)
    run.click()
    steps = ask(page, "() => state.steps")
    assert run.text == "Let go"
    page.find_element(By.ID, "dot1").send_keys(Keys.ENTER)
    wait(page, lambda b: run.text == "Let go", 30)
    assert ask(page, "() => state.steps") == steps + 200
    want = after("circle", placed(page, "hand"), STARTS, steps + 200)
    torch.testing.assert_close(numbers(page, "() => state.x"), want, rtol=1e-6, atol=1e-8)
    assert len(page.find_elements(By.CSS_SELECTOR, "#trails path")) == 4


def test_who_wants_no_motion_sees_the_end_at_once(page):
    media = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        page.find_element(By.ID, "run").click()
        assert ask(page, "() => [state.steps, timer]") == [200, None]
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_point_is_dragged_by_mouse_and_by_finger(page):
    drag = ActionChains(page).click_and_hold(page.find_element(By.ID, "dot1")).move_by_offset(40, -20).release()
    drag.perform()
    n, p, pixels = ask(page, "() => state.x[1].concat(PIXELS * element('plane').getScreenCTM().a)")
    assert [n, p] == pytest.approx([0.4 + 40 / pixels, 0.4 + 20 / pixels], abs=0.01)
    with screen(page, 390, 800):
        page.execute_script("start({preset: 'hardest'}); controls(); draw()")
        box = ask(page, """() => { element('dot20').scrollIntoView({block: 'center'});
            const b = element('dot20').getBoundingClientRect(), [x, y] = [b.x + b.width / 2, b.y + b.height / 2];
            const on = document.elementFromPoint(x, y).closest('.dot').id.slice(3);
            return {x, y, on: Number(on), scrolled: scrollY}; }""")  # fmt: skip
        on = box["on"]  # of dots in one place, the one on top
        before = ask(page, "i => state.x[i]", on)
        for kind, dy in (("touchStart", 0), ("touchMove", 20), ("touchMove", 40), ("touchEnd", None)):
            touched = [] if dy is None else [{"x": box["x"], "y": box["y"] + dy}]
            page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
        assert ask(page, "i => state.x[i]", on)[1] < before[1] - 0.1
        assert ask(page, "() => scrollY") == box["scrolled"]  # the finger has moved the point, not the page


def test_a_question_sets_itself_up(page):
    for at, task in enumerate(ask(page, "() => TASKS")):
        page.find_elements(By.CSS_SELECTOR, "#tasks button")[at].send_keys(Keys.ENTER)
        assert ask(page, "task => Object.entries(task).every(([name, value]) => state[name] === value)", task)
        assert page.switch_to.active_element.get_attribute("value") == str(at)  # the keyboard stays where it was
        assert page.find_element(By.CSS_SELECTOR, f"input[value={task['loss']}]").is_selected()


@pytest.mark.parametrize(("language", "width"), list(product(("en", "zh"), (390, 1280))))
def test_fits_phone_and_desk_in_both_languages_without_errors(browser, language, width):
    with screen(browser, width, 800):
        browser.get("about:blank")
        browser.get(f"{PAGE.as_uri()}?lang={language}")
        for preset, loss in product(PRESETS, LOSSES):
            browser.execute_script(
                "start({preset: arguments[0], loss: arguments[1], levels: true}); controls(); draw(); step(); draw()",
                preset, loss,
            )  # fmt: skip
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
    for name in ("says", "key"):
        assert words["en"][name].keys() == words["zh"][name].keys()
    assert not re.search(r"(src|href)\s*=|url\(|import\s|fetch\(", PAGE.read_text(encoding="utf-8"))


def test_it_says_that_similarities_that_move_alone_are_an_idealisation(page):
    words = ask(page, "() => TEXT")
    assert "idealisation" in words["en"]["lead"]
    assert "理想化" in words["zh"]["lead"]


def test_what_the_explorers_share_is_the_same_in_all():
    for copy in explorers.COPIES:
        text = copy.read_text(encoding="utf-8")
        assert len(explorers.SHARED.findall(text)) == 2
        assert explorers.filled(text, explorers.SOURCE.read_text(encoding="utf-8")) == text, "run tools/explorers.py"
    assert {*explorers.COPIES, explorers.SOURCE} == set(PAGE.parent.glob("explorer*.html"))
