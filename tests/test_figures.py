"""Colours that readers can tell apart, and files that are small, whole and the same every time."""

import io
import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image
from scipy.stats import norm

from facelearn import figures

REGISTRY = (
    *("softmax", "normface", "l2_softmax", "contrastive", "supcon", "triplet", "circle", "center", "ring", "lgm"),
    *("sphereface", "cosface", "arcface", "combined_margin", "subcenter_arcface", "mv_softmax", "curricularface"),
    *("circleface", "discface", "npcface", "magface", "adaface", "elasticface"),
)
PROMINENT = ("softmax", "normface", "cosface", "arcface", "sphereface", "triplet", "center", "circle", "curricularface")

# How people without one kind of cone see linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
VISION = {
    "all cones": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.fixture(autouse=True)
def plain_style():
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.rcdefaults()


def lab(colour, vision):
    """CIE L*a*b* (D65) of `#RRGGBB` as seen with this vision."""
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ seen / [0.9505, 1.0, 1.089], 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(a, b, vision):
    return np.linalg.norm(lab(a, vision) - lab(b, vision))


def test_every_loss_has_its_own_colour_and_name():
    assert set(figures.COLOURS) == set(figures.NAMES) == set(REGISTRY)
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in figures.COLOURS.values())
    assert len(set(figures.NAMES.values())) == len(REGISTRY)


@pytest.mark.parametrize("vision", VISION)
def test_prominent_losses_are_told_apart_by_everyone(vision):
    assert set(figures.PROMINENT) == set(PROMINENT)
    pairs = {pair: distance(*(figures.COLOURS[stem] for stem in pair), vision) for pair in combinations(PROMINENT, 2)}
    assert min(pairs.values()) > 18, min(pairs, key=pairs.get)


def test_all_losses_differ_in_colour_or_dash():
    for a, b in combinations(REGISTRY, 2):
        apart = distance(figures.colour(a), figures.colour(b), "all cones")
        same_dash = figures.line(a)["linestyle"] == figures.line(b)["linestyle"]
        assert apart > (20 if same_dash else 12), (a, b, apart)


def test_colours_show_on_white():
    assert max(lab(colour, "all cones")[0] for colour in figures.COLOURS.values()) < 82


def test_unknown_loss_is_named():
    with pytest.raises(ValueError, match="stem='arcfcae': expected one of softmax"):
        figures.colour("arcfcae")
    with pytest.raises(ValueError, match="arcfcae"):
        figures.line("arcfcae")


def test_line_is_understood_by_plot():
    _, ax = plt.subplots()
    drawn = [ax.plot([0, 1], **figures.line(stem))[0] for stem in REGISTRY]
    assert [line.get_label() for line in drawn] == [figures.NAMES[stem] for stem in REGISTRY]


def test_style_replaces_what_was_set_before():
    plt.rcParams["axes.facecolor"] = "red"
    figures.use_style()
    assert plt.rcParams["axes.facecolor"] == "white"
    assert plt.rcParams["axes.spines.top"] is False
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"][4] == figures.COLOURS["arcface"]
    assert plt.get_backend() == "agg"


def curves():
    figures.use_style()
    fig, ax = plt.subplots()
    x = np.linspace(0, 6, 300)
    for k, stem in enumerate(REGISTRY):
        ax.plot(x, np.sin(x + k), **figures.line(stem))
    ax.set_title(r"$\theta$ and 1 − cos")
    return fig


def noise(inches):
    """The worst case: every pixel another colour."""
    fig = plt.figure(figsize=(inches, inches), dpi=110)
    pixels = np.random.default_rng(0).integers(256, size=(int(110 * inches),) * 2 + (3,), dtype=np.uint8)
    fig.figimage(pixels)
    return fig


def test_png_is_small_the_same_twice_and_bare():
    first, second = (figures.png(curves()) for _ in range(2))
    assert first == second
    assert len(first) < 80_000
    picture = Image.open(io.BytesIO(first))
    assert picture.info.keys() <= {"dpi", "transparency"}
    assert picture.width > 600


def test_palette_keeps_the_colours_of_the_curves():
    shown = {colour for _, colour in Image.open(io.BytesIO(figures.png(curves()))).convert("RGB").getcolors(1 << 20)}
    for stem in REGISTRY:
        wanted = np.array([int(figures.colour(stem)[i : i + 2], 16) for i in (1, 3, 5)])
        assert min(np.abs(wanted - np.array(colour)).max() for colour in shown) < 16, stem


def test_png_is_drawn_coarser_until_it_fits_and_then_gives_up():
    data = figures.png(noise(4.5), limit=150_000)
    assert len(data) <= 150_000
    assert Image.open(io.BytesIO(data)).width < 450
    with pytest.raises(ValueError, match="limit=1000 bytes even at 50"):
        figures.png(noise(1), limit=1000)


def dot(k):
    fig, ax = plt.subplots(figsize=(2, 2))
    ax.plot([k], [k], "o", color="#D55E00" if k else "#0072B2", markersize=40)
    ax.set(xlim=(-1, 4), ylim=(-1, 4))
    return fig


def test_gif_has_its_frames_and_times(tmp_path):
    path = tmp_path / "dot.gif"
    figures.save_gif(path, dot, range(4), seconds=0.2, hold=1.0)
    assert not plt.get_fignums()
    with Image.open(path) as gif:
        assert gif.n_frames == 4
        assert gif.info["loop"] == 0
        times, hues = [], []
        for k in range(4):
            gif.seek(k)
            times.append(gif.info["duration"])
            hues.append(gif.convert("RGB").getcolors(1 << 16))
    assert times == [200, 200, 200, 1000]
    assert any(np.abs(np.subtract(c, (0x00, 0x72, 0xB2))).max() < 16 for _, c in hues[0])
    assert any(np.abs(np.subtract(c, (0xD5, 0x5E, 0x00))).max() < 16 for _, c in hues[3])
    before = path.read_bytes()
    figures.save_gif(path, dot, range(4), seconds=0.2, hold=1.0)
    assert path.read_bytes() == before


def test_gif_refuses_frames_of_two_sizes(tmp_path):
    def grow(k):
        return plt.figure(figsize=(k, k))

    with pytest.raises(ValueError, match="all of one size"):
        figures.save_gif(tmp_path / "a.gif", grow, [1, 2])
    with pytest.raises(ValueError, match="at least one"):
        figures.save_gif(tmp_path / "a.gif", grow, [])
    assert not list(tmp_path.iterdir())


def test_normal_scores_are_a_straight_line_in_a_det_plot():
    """FAR = Φ(-t), FRR = Φ(t - 2): on normal deviates y = -x - 2."""
    t = np.linspace(-1, 3, 41)
    fig, ax = plt.subplots()
    figures.det(ax, norm.cdf(-t), norm.cdf(t - 2), color="#333333", label="normal")
    (line,) = ax.get_lines()
    x, y = line.get_data()
    np.testing.assert_allclose(y, -x - 2, atol=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("false accept rate", "false reject rate")
    figures.det(ax, np.array([0.0, 0.1, 1.0]), np.array([1.0, 0.2, 0.0]))  # the ends of a ROC lie at infinity
    assert np.isfinite(ax.get_xlim()).all()
    plt.close(fig)
