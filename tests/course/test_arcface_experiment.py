"""The arms of chapter 12's experiment are what their names say, and the stored table holds all of them."""

import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

COURSE = Path(__file__).resolve().parents[2] / "course"


@pytest.fixture(scope="module")
def experiment():
    sys.path.insert(0, str(COURSE))
    try:
        yield importlib.import_module("experiments.arcface")
    finally:
        sys.path.remove(str(COURSE))


def test_the_detached_arm_has_arcfaces_value_and_cosfaces_slope(experiment):
    margin, cos = experiment.MARGIN, torch.linspace(-0.7, 0.9, 9)
    heads = [experiment.train(experiment.setting(stem, margin=margin), 0, "smoke").loss for stem in LOSSES]
    values, slopes = [], []
    for head in heads:
        c = cos.clone().requires_grad_()
        values.append(head.target(c, ()))
        slopes += torch.autograd.grad(values[-1].sum(), c)
    torch.testing.assert_close(values[1], (cos.acos() + margin).cos())
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(slopes[1], slopes[2])
    assert not F.mse_loss(slopes[1], slopes[0]) < 0.01


LOSSES = ("arcface", "arcface_detached", "cosface")


def test_the_stored_table_has_every_run_of_the_grid(experiment):
    table = pd.read_csv(COURSE / "results" / "12_arcface.csv")
    for setting, seed in experiment.grid():
        assert seed in experiment.rows(table, setting).index
    assert experiment.choose(table) == experiment.SETTINGS["chosen"]
    gain = experiment.paired(table, "eer", experiment.setting(experiment.DETACHED, margin=0.6), experiment.setting())
    assert list(gain.index) == experiment.SETTINGS["seeds"]
