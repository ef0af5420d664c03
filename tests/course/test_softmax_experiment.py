"""The measurements of chapter 03, on points whose answers are known beforehand."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from experiments import softmax as experiment

COURSE = Path(__file__).resolve().parents[2] / "course"


def at(*degrees, length=1.0):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return length * torch.stack([angles.cos(), angles.sin()], dim=1)


def test_turning_goes_the_short_way_round():
    turn = experiment.turned(experiment.angle(at(170, 10, 0)), experiment.angle(at(-170, 350, 180)))
    assert torch.allclose(turn.rad2deg(), torch.tensor([20.0, 20.0, 180.0], dtype=torch.float64))


def test_loose_counts_images_nearer_to_another_class_than_to_their_own():
    labels = torch.tensor([0, 0, 1, 1])
    assert experiment.loose(at(0, 10, 50, 60), labels, "angle") == 0
    # of the four only the image at 30 is nearer to the other class (20 degrees) than to its own (30)
    assert experiment.loose(at(0, 30, 50, 60), labels, "angle") == 0.25
    # the same narrow angles, but long: by distance the classes are loose, by angle they are not
    long = torch.cat([at(0, length=1.0), at(5, length=9.0), at(50, length=1.0), at(55, length=9.0)])
    assert experiment.loose(long, labels, "angle") == 0
    assert experiment.loose(long, labels, "distance") == 1


def test_spread_is_the_mean_angle_within_a_class():
    x, labels = at(0, 10, 20, 90, 94), torch.tensor([0, 0, 0, 1, 1])
    assert experiment.spread(x, labels) == pytest.approx(((10 + 10 + 20) / 3 + 4) / 2)


def table(accuracy, norms):
    epochs = [3 * (i + 1) for i in range(len(accuracy))]
    numbers = {"test_accuracy": accuracy, "w_norm": 1.0, "stretch": [math.log(norms[-1] / n) for n in norms]}
    return pd.DataFrame({"epoch": epochs, "train_accuracy": accuracy, "x_norm": norms, "turn": 0.1} | numbers)


def test_saturation_is_for_good():
    run = table([0.5, 0.995, 0.98, 0.995, 1.0], [1.0, 2.0, 3.0, 4.0, 8.0])
    assert experiment.saturation(run) == 12  # at 6 it was not for good
    found = experiment.after_saturation(run)
    assert found["x_growth"] == 2
    assert found["radial_over_angular"] == pytest.approx(math.log(2) / 0.1)


def test_a_run_that_never_saturates_shows_no_growth():
    assert experiment.after_saturation(table([0.5, 0.6, 0.7], [1.0, 2.0, 3.0]))["x_growth"] == 1


def test_the_stored_table_gives_the_settings_back():
    stored = pd.read_csv(COURSE / "results" / "03_softmax.csv")
    assert experiment.choose(stored) == experiment.SETTINGS["lr"]


def test_strangers_cover_all_digits_and_are_not_shown():
    seeds = experiment.SETTINGS["control_seeds"]
    assert torch.cat([experiment.stranger_digits(seed) for seed in seeds]).sort().values.tolist() == list(range(10))
    shown, held_out = experiment.split(experiment.setting("strangers"), seeds[0])
    assert shown.labels.unique().tolist() == held_out.labels.unique().tolist() == list(range(8))


def test_shuffled_labels_keep_their_counts():
    plain, _ = experiment.split(experiment.setting(), 300)
    shuffled, _ = experiment.split(experiment.setting("shuffled"), 300)
    assert torch.equal(plain.labels.bincount(), shuffled.labels.bincount())
    assert (plain.labels == shuffled.labels).float().mean() < 0.2
