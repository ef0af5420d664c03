"""The pictures of 2-D features show what they are given."""

import numpy as np
import pytest
from experiments import softmax
from matplotlib import pyplot as plt

from facelearn import figures


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def cloud():
    """Ten classes, one to each tenth of the circle, at lengths between 1 and 2."""
    labels = np.repeat(np.arange(10), 20)
    angles = 2 * np.pi * labels / 10 + np.tile(np.linspace(-0.1, 0.1, 20), 10)
    lengths = np.tile(np.linspace(1, 2, 20), 10)
    return lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1), labels


def names(ax):
    return {int(text.get_text()): np.array(text.get_position()) for text in ax.texts}


@pytest.mark.parametrize("draw", [figures.petals, figures.directions])
def test_each_name_stands_beyond_its_own_class(draw, cloud):
    x, labels = cloud
    ax = plt.figure().add_subplot()
    draw(ax, x, labels)
    assert sorted(names(ax)) == list(range(10))
    for kind, place in names(ax).items():
        away = np.angle(complex(*place) / np.exp(2j * np.pi * kind / 10))
        assert abs(away) < 0.05
        limits = ax.get_xlim() + ax.get_ylim()
        assert min(limits) < place.min()
        assert place.max() < max(limits)


def test_a_cloud_too_small_to_read_has_no_names(cloud):
    x, labels = cloud
    ax = plt.figure().add_subplot()
    figures.petals(ax, 0.01 * x, labels, figures.petals_frame([x]))
    assert not ax.texts


def test_the_frame_holds_the_largest_cloud_and_the_origin(cloud):
    x, _ = cloud
    left, bottom, half = figures.petals_frame([0.1 * x, x + 5])
    assert (np.abs(x + 5 - [left, bottom]) <= half).all()
    assert max(abs(left), abs(bottom)) <= half


def test_a_region_belongs_to_the_largest_logit():
    fig = plt.figure(figsize=(2, 2), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    softmax.regions(ax, [[1, 0], [-1, 0]], [1, 0])  # 2 x + 1 = 0: the boundary is at x = -1/2
    fig.canvas.draw()
    pixels = np.asarray(fig.canvas.buffer_rgba())[20, :, :3].astype(int)  # one row, away from the arrows
    change = np.abs(np.diff(pixels, axis=0)).sum(1).argmax() / (len(pixels) - 1)
    assert 4.4 * change - 2.2 == pytest.approx(-0.5, abs=0.05)
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["$w_1$", "$w_2$"]
