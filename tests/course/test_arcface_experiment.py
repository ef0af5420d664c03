"""The rows of chapter 12's experiment are what their names say, the margins are those that `tune` chose."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from experiments import arcface as experiment

from facelearn.training import embed

COURSE = Path(__file__).resolve().parents[2] / "course"


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(COURSE / "results" / "12_arcface.csv")


@pytest.mark.parametrize("scale", [8, 16, 32, 64])
def test_the_three_margins_differ_in_value_or_derivative_alone(scale):
    margin = experiment.SETTINGS["chosen"]["arcface"][scale]
    values, slopes = {}, {}
    for loss in ("arcface", "arcface_detached", "cosface_matched", "normface"):
        head = experiment.head(experiment.setting(loss, scale), 4, 3)
        assert head.scale == scale
        cos = torch.linspace(-0.5, 0.9, 8, dtype=torch.float64)
        cos[3] = 0.5  # 60 degrees
        cos.requires_grad_()
        values[loss] = head.target(cos, ())
        (slopes[loss],) = torch.autograd.grad(values[loss].sum(), cos)
    torch.testing.assert_close(values["arcface"], (cos.acos() + margin).cos())
    torch.testing.assert_close(values["arcface_detached"], values["arcface"])
    assert values["cosface_matched"][3].item() == pytest.approx(math.cos(math.radians(60) + margin), abs=1e-4)
    for loss in ("arcface_detached", "cosface_matched", "normface"):
        torch.testing.assert_close(slopes[loss], torch.ones_like(cos))
    assert slopes["arcface"].max() > 1.3


def test_the_chosen_margins_are_the_best_on_tune_and_none_stands_at_an_edge(table):
    chosen = experiment.SETTINGS["chosen"]
    assert experiment.choose(table) == chosen
    further = {(loss, scale): margin for loss, scale, margin in experiment.SETTINGS["further"]}
    for loss, scales in chosen.items():
        for scale, margin in scales.items():
            tried = experiment.SETTINGS["tried"][loss][scale]
            assert margin not in (min(tried), max(tried)) or (loss, scale) in further, (loss, scale)


def test_the_course_compares_arcface_at_the_margin_chosen_here_for_its_own_scale():
    file = json.loads((COURSE / "settings.json").read_text(encoding="utf-8"))["losses"]
    of_the_course = file["arcface"]["arguments"]
    assert experiment.SETTINGS["chosen"]["arcface"][of_the_course["scale"]] == of_the_course["margin"]


def test_what_is_missing_is_one_minus_the_exponential_of_minus_the_loss():
    wanted = {"stage": "open", "loss": "arcface", "scale": 16.0, "margin": 0.5}
    trained = experiment.train(wanted, 0, "smoke")
    numbers = experiment.pulled(trained)
    net, loss, shown = trained
    for name, margin in (("rest_margin", 0.5), ("rest", 0.0)):
        loss.margin, loss.reduction = margin, "none"
        by_loss = 1 - (-loss(embed(net, shown), shown.labels)).exp()
        assert numbers[name] == pytest.approx(by_loss.mean().item(), rel=1e-4)
    assert 0 < numbers["pull"] <= numbers["rest_margin"]
    assert numbers["won"] <= numbers["settled"] + numbers["rest_margin"]


def test_a_row_of_the_search_is_a_row_of_the_protocol():
    wanted = {"stage": "tune", "loss": "normface", "scale": 64.0, "margin": 0.0}
    recipe = {"loss": "normface", "arguments": {"scale": 64.0}}
    assert experiment.run(wanted, 1, "smoke") == experiment.protocol.run(recipe, "tune", 1, "smoke")


def test_the_share_that_is_kept_and_its_interval():
    rows = []
    for seed, (arc, detached) in enumerate([(0.010, 0.006), (0.012, 0.005), (0.014, 0.007), (0.012, 0.006)]):
        for loss, eer in (("normface", 0.05), ("arcface", 0.05 - arc), ("arcface_detached", 0.05 - detached)):
            rows.append(experiment.setting(loss, 8) | {"seed": seed, "eer": eer})
    share, low, high = experiment.kept(pd.DataFrame(rows), "arcface_detached", 8)
    assert share == pytest.approx(0.5)
    assert 0.3 < low < 0.5 < high < 0.7
    assert experiment.kept(pd.DataFrame(rows), "arcface", 8)[0] == 1
