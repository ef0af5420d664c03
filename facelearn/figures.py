"""How the course draws: one style, one colour per loss, small pictures with the same bytes every time.

Figures draw what they are given; nothing here trains or loads. Recurring pictures have one function each.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle, Wedge
from PIL import Image

from facelearn.files import write_whole

# One colour per loss, the same in every chapter. The first nine meet most often in one figure: they stay apart for
# protan, deutan and tritan readers too. Twenty-three colours cannot all do that, so the others also differ in dash.
COLOURS: dict[str, str] = {
    "softmax": "#333333",
    "normface": "#A578FF",
    "sphereface": "#963C69",
    "cosface": "#0072B2",
    "arcface": "#D55E00",
    "triplet": "#F0A5A5",
    "center": "#B4D200",
    "circle": "#3CD2FF",
    "curricularface": "#0000C3",
    "l2_softmax": "#87A5E1",
    "contrastive": "#FF69B4",
    "supcon": "#D200C3",
    "ring": "#789669",
    "lgm": "#2D5A3C",
    "combined_margin": "#3C002D",
    "subcenter_arcface": "#B40000",
    "mv_softmax": "#5A00FF",
    "circleface": "#00C369",
    "discface": "#5A1E87",
    "npcface": "#E1960F",
    "magface": "#690F00",
    "adaface": "#000069",
    "elasticface": "#96695A",
}
PROMINENT = tuple(COLOURS)[:9]

# How a loss is written in a legend.
NAMES: dict[str, str] = {
    "softmax": "Softmax",
    "normface": "NormFace",
    "sphereface": "SphereFace",
    "cosface": "CosFace",
    "arcface": "ArcFace",
    "triplet": "Triplet",
    "center": "Center",
    "circle": "Circle",
    "curricularface": "CurricularFace",
    "l2_softmax": "L2-Softmax",
    "contrastive": "Contrastive",
    "supcon": "SupCon",
    "ring": "Ring",
    "lgm": "L-GM",
    "combined_margin": "Combined margin",
    "subcenter_arcface": "Sub-center ArcFace",
    "mv_softmax": "MV-Softmax",
    "circleface": "CircleFace",
    "discface": "DiscFace",
    "npcface": "NPCFace",
    "magface": "MagFace",
    "adaface": "AdaFace",
    "elasticface": "ElasticFace",
}

DASHES = ((4, 1.5), (1, 1), (6, 1.5, 1, 1.5), (5, 1, 1, 1, 1, 1))

STYLE: dict[Any, Any] = {
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same glyphs on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "image.cmap": "viridis",
    "axes.prop_cycle": cycler(color=[COLOURS[stem] for stem in PROMINENT]),
}

Frame = TypeVar("Frame")


def use_style() -> None:
    """Set the course's figure style for everything drawn afterwards."""
    mpl.rcdefaults()  # keeps the backend
    for key, value in STYLE.items():
        mpl.rcParams[key] = value


def colour(stem: str) -> str:
    """The colour of a loss, `#RRGGBB`."""
    return _entry(COLOURS, stem)


def line(stem: str) -> dict[str, Any]:
    """Keywords for `ax.plot` of a loss's curve: `ax.plot(x, y, **figures.line("arcface"))`."""
    place = tuple(COLOURS).index(stem) if stem in COLOURS else -1
    dash: Any = "-" if place < len(PROMINENT) else (0, DASHES[place % len(DASHES)])
    return {"color": colour(stem), "label": _entry(NAMES, stem), "linestyle": dash}


def _entry(table: dict[str, str], stem: str) -> str:
    if stem not in table:
        raise ValueError(f"stem={stem!r}: expected one of {', '.join(table)}")
    return table[stem]


# ---- small files ----------------------------------------------------------------------------------------------------


def png(fig: Figure, limit: int = 150_000) -> bytes:
    """`fig` as PNG bytes, at most `limit` of them, without date or version inside.

    A palette of 256 colours makes a plot three times smaller and looks the same. What is still too big is drawn with
    fewer dots per inch; below 50 this gives up with a ValueError.
    """
    for dpi in (fig.dpi, *(step for step in (90, 72, 60, 50) if step < fig.dpi)):
        data = io.BytesIO()
        _reduced([_rendered(fig, dpi, tight=True)], 256)[0].save(data, "PNG", optimize=True)
        if data.tell() <= limit:
            return data.getvalue()
    raise ValueError(f"fig: the PNG stays above limit={limit} bytes even at 50 dots per inch: draw less")


def save_png(path: str | os.PathLike[str], fig: Figure) -> None:
    """Write `fig` as `png` has it, in a folder that is made if it is missing, and close it."""
    Path(path).parent.mkdir(exist_ok=True)
    write_whole(path, png(fig))
    plt.close(fig)


def save_gif(
    path: str | os.PathLike[str],
    draw: Callable[[Frame], Figure],
    frames: Iterable[Frame],
    *,
    seconds: float = 0.1,
    hold: float = 1.5,
    dpi: int = 80,
    colours: int = 64,
) -> None:
    """Write an endless GIF: `draw(frame)` gives one figure per frame, all of the same size.

    seconds  how long a frame stands; `hold` is for the last one
    colours  of the palette that all frames share (fewer make a smaller file)
    """
    pictures = []
    for frame in frames:
        fig = draw(frame)
        pictures.append(_rendered(fig, dpi, tight=False))
        plt.close(fig)
    sizes = {picture.size for picture in pictures}
    if len(sizes) != 1:
        raise ValueError(f"frames: expected at least one, all of one size; their sizes are {sorted(sizes)}")
    first, *rest = _reduced(pictures, colours)
    milliseconds = [round(1000 * seconds)] * len(rest) + [round(1000 * hold)]
    data = io.BytesIO()
    first.save(data, "GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0, optimize=True)
    write_whole(Path(path), data.getvalue())


def _reduced(pictures: list[Image.Image], colours: int) -> list[Image.Image]:
    """The pictures with one palette between them, chosen from eight of them at most."""
    width, height = pictures[0].size
    some = pictures[:: -(-len(pictures) // 8)]
    sheet = Image.new("RGB", (width, height * len(some)))
    for row, picture in enumerate(some):
        sheet.paste(picture, (0, row * height))
    palette = sheet.quantize(colours, dither=Image.Dither.NONE)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def _rendered(fig: Figure, dpi: float, tight: bool) -> Image.Image:
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=dpi, bbox_inches="tight" if tight else None, metadata={"Software": None})
    return Image.open(raw).convert("RGB")


# ---- the arcs opening on the circle (chapters on angular margins) -------------------------------------------------

ARC_CENTRES = (25.0, 79.0, 155.0, 285.0)  # degrees; neighbours are 54, 76, 130 and 100 degrees apart


def arc_gap(between: float, margin: float, stem: str) -> float:
    """Degrees of the arc that no class accepts, between two centres `between` degrees apart on the circle.

    arcface: θ₁ + m < θ₂ leaves m.  cosface: cos θ₁ - m > cos θ₂ leaves 2 arcsin(m / (2 sin(φ/2))); at most φ.
    """
    if stem == "arcface":
        return min(math.degrees(margin), between)
    if stem == "cosface":
        half = margin / (2 * math.sin(math.radians(between) / 2))
        return min(2 * math.degrees(math.asin(min(half, 1.0))), between)
    raise ValueError(f"stem={stem!r}: expected arcface or cosface")


def arcs(ax: Axes, margin: float, stem: str = "arcface") -> None:
    """Class centres on the unit circle: in colour where a sample of the class is accepted, in degrees what is empty."""
    shade, size = colour(stem), len(ARC_CENTRES)
    ax.add_patch(Circle((0, 0), 1, fill=False, color="#BBBBBB", linewidth=0.8))
    for i, centre in enumerate(ARC_CENTRES):
        after = (ARC_CENTRES[(i + 1) % size] - centre) % 360  # to the next centre, counter-clockwise
        before = (centre - ARC_CENTRES[i - 1]) % 360
        gap = arc_gap(after, margin, stem)
        low, high = centre - (before - arc_gap(before, margin, stem)) / 2, centre + (after - gap) / 2
        ax.add_patch(Wedge((0, 0), 1, low, high, facecolor=shade, alpha=0.15, linewidth=0))
        ax.add_patch(Wedge((0, 0), 1.06, low, high, width=0.12, facecolor=shade, linewidth=0))
        ax.plot(*_polar([0, 1], centre + after / 2), color="#999999", linewidth=0.9, linestyle=(0, (3, 3)))
        ax.annotate("", _polar(0.94, centre), (0, 0), arrowprops={"arrowstyle": "-|>", "color": "#222222", "lw": 1.5})
        _label(ax, 0.6, centre + 11, f"$w_{i + 1}$")
        if gap > 0.5:
            _label(ax, 1.27, centre + after / 2, f"{gap:.1f}°", fontweight="bold")
    ax.set(xlim=(-1.45, 1.45), ylim=(-1.32, 1.32), aspect="equal")
    ax.axis("off")


def _polar(radius: float | list[float], degrees: float) -> Any:
    """(x, y) of one radius, or of several at one angle."""
    angle = math.radians(degrees)
    return np.multiply(radius, math.cos(angle)), np.multiply(radius, math.sin(angle))


def _label(ax: Axes, radius: float, degrees: float, text: str, **style: Any) -> None:
    x, y = _polar(radius, degrees)
    ax.text(x, y, text, **({"ha": "center", "va": "center"} | style))


def arcs_pair(margin: float) -> Figure:
    """ArcFace beside CosFace, matched for two centres at right angles, where m = .5 rad is 0.35 in cosine."""
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.7), layout="none")
    cosine = math.sqrt(2) * math.sin(margin / 2)
    for ax, stem, m, rule in (
        (axes[0], "arcface", margin, rf"$\theta_1 + {margin:.2f} < \theta_2$"),
        (axes[1], "cosface", cosine, rf"$\cos\theta_1 - {cosine:.2f} > \cos\theta_2$"),
    ):
        arcs(ax, m, stem)
        ax.set_title(f"{NAMES[stem]}   {rule}", color=colour(stem))
    fig.subplots_adjust(0.01, 0.01, 0.99, 0.9, wspace=0.02)
    return fig


def handicap(theta: float, margin: float, between: float = 1.9) -> Figure:
    """A sample at `theta` from its centre; the distance to that centre alone counts as `margin` more. Radians."""
    fig, ax = plt.subplots(figsize=(6.4, 3.3), layout="none")
    start = math.degrees((math.pi - between) / 2)  # of the other centre; the own centre stands at start + between
    own, x = start + math.degrees(between), start + math.degrees(between - theta)
    judged, shade = x - math.degrees(margin), colour("arcface")
    ax.add_patch(Arc((0, 0), 2, 2, theta1=start - 12, theta2=own + 12, color="#BBBBBB", linewidth=1))
    for degrees, name in ((own, "$w_1$"), (start, "$w_2$")):
        ax.annotate("", _polar(1, degrees), (0, 0), arrowprops={"arrowstyle": "-|>", "color": "#222222", "lw": 1.5})
        _label(ax, 1.1, degrees, name, fontsize=13)
    middle = start + math.degrees(between) / 2
    ax.plot(*_polar([0, 1.04], middle), color="#999999", linewidth=1, linestyle=(0, (3, 3)))
    for low, high, radius, tone, name in (
        (x, own, 0.42, "#222222", r"$\theta_1$"), (judged, x, 0.62, shade, "$m$"),
        (start, x, 0.28, "#777777", r"$\theta_2$"),
    ):  # fmt: skip
        ax.add_patch(Arc((0, 0), 2 * radius, 2 * radius, theta1=low, theta2=high, color=tone, linewidth=2))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        at = start + 17 if low == start else (low + high) / 2  # θ₂ aside from the ray of the hollow dot
        _label(ax, radius + 0.09, at, name, color=tone, bbox=box)
    for degrees, face, side, name in (
        (x, shade, "right", "$x$, where it is"), (judged, "white", "left", "counted from here, to $w_1$ only"),
    ):  # fmt: skip
        ax.plot(*_polar([0, 1], degrees), color=shade, linewidth=1, alpha=0.6)
        ax.plot(*_polar([1], degrees), "o", color=shade, markerfacecolor=face, markersize=10, markeredgewidth=2)
        _label(ax, 1.08, degrees, name, color=shade, va="bottom", ha=side)
    ax.set(xlim=(-1.25, 1.25), ylim=(-0.05, 1.3), aspect="equal")
    ax.axis("off")
    fig.subplots_adjust(0, 0, 1, 1)
    return fig


def arcs_sheet(margins: Iterable[float] = (0.0, 0.25, 0.5)) -> Figure:
    """Still frames of the animation: a row per loss, a column per margin."""
    steps = list(margins)
    fig, axes = plt.subplots(2, len(steps), figsize=(2.9 * len(steps), 5.7), layout="none", squeeze=False)
    for column, margin in enumerate(steps):
        cosine = math.sqrt(2) * math.sin(margin / 2)
        for ax, stem, m, unit in zip(
            axes[:, column], ("arcface", "cosface"), (margin, cosine), (" rad", " in cosine"), strict=True
        ):
            arcs(ax, m, stem)
            ax.set_title(f"{NAMES[stem]}  m = {m:.2f}{unit if m else ''}", color=colour(stem))
    fig.subplots_adjust(0.01, 0.01, 0.99, 0.94, wspace=0.02, hspace=0.12)
    return fig


# ---- what many seeds measured -------------------------------------------------------------------------------------


def seeds(
    ax: Axes, x: float, values: Iterable[float], low: float, high: float, shade: str, *, aside: float = 0.0
) -> None:
    """One dot per seed round `x`; their mean, moved `aside`, as a diamond with its interval from `low` to `high`."""
    y = np.asarray(list(values))
    beside = x + np.linspace(-0.03, 0.03, len(y)) if len(y) > 1 else np.full(1, x)  # equal values stay visible
    ax.plot(beside, y, "o", color=shade, markersize=4, alpha=0.5, markeredgewidth=0)
    mean = float(y.mean())
    ax.errorbar(x + aside, mean, [[mean - low], [high - mean]], fmt="D", color=shade, markersize=6, capsize=4)


def face_strip(rows: Sequence[Any], titles: Sequence[str] = ()) -> Figure:
    """Faces side by side, `rows` of images (n, 3, S, S) in [0, 1] under one another; a title above each column."""
    sheet = np.concatenate([np.concatenate(list(np.asarray(row)), axis=2) for row in rows], axis=1)  # (3, R S, n S)
    side, height, width = np.asarray(rows[0]).shape[-1], *sheet.shape[1:]
    above = 0.25 if titles else 0.0
    fig = plt.figure(figsize=(0.7 * width / side, 0.7 * height / side + above), layout="none")
    ax = fig.add_axes((0, 0, 1, 1 - above / fig.get_figheight()))
    ax.imshow(sheet.transpose(1, 2, 0))
    ax.axis("off")
    for column, title in enumerate(titles):
        ax.text((column + 0.5) * side, -2, title, ha="center", va="bottom", fontsize=9)
    return fig


# ---- petals: features in the plane (chapters on 2-D features) ----------------------------------------------------

# Ten classes that protan, deutan and tritan readers can tell apart (Paul Tol's "muted" scheme and a grey); every
# petal also carries its label, so nothing hangs on colour alone.
CLASSES = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#777777",
)  # fmt: skip


Frame2D = tuple[float, float, float]  # centre and half-width of the square that is shown


def petals(ax: Axes, x: Any, labels: Any, frame: Frame2D | None = None) -> None:
    """Features `(N, 2)` as dots, one colour per class, the class's number beyond the tip, a cross at the origin."""
    x, labels = np.asarray(x), np.asarray(labels)
    left, bottom, half = frame or petals_frame([x])
    legible = np.quantile(np.linalg.norm(x, axis=1), 0.9) > 0.2 * half  # else the names would lie on one another
    ax.plot(0, 0, "+", color="#222222", markersize=7, markeredgewidth=1, zorder=5)
    for kind in np.unique(labels):
        own, shade = x[labels == kind], CLASSES[int(kind) % len(CLASSES)]
        ax.plot(own[:, 0], own[:, 1], "o", color=shade, markersize=3, markeredgewidth=0, alpha=0.7)
        tip = float(np.quantile(np.linalg.norm(own, axis=1), 0.98))
        if legible:
            _class_name(ax, (tip + 0.13 * half) * _main_direction(own), int(kind))
    ax.set(xlim=(left - half, left + half), ylim=(bottom - half, bottom + half), aspect="equal")
    ax.axis("off")


def directions(ax: Axes, x: Any, labels: Any) -> None:
    """The same features divided by their norms: one tick per feature on the unit circle."""
    x, labels = np.asarray(x), np.asarray(labels)
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)  # (N, 2)
    for kind in np.unique(labels):
        own, shade = unit[labels == kind], CLASSES[int(kind) % len(CLASSES)]
        ends = np.stack([0.84 * own, 1.16 * own], axis=1)  # (n, 2, 2)
        ax.add_collection(LineCollection(list(ends), colors=shade, linewidths=0.8, alpha=0.55))
        _class_name(ax, 1.36 * _main_direction(own), int(kind))
    ax.set(xlim=(-1.55, 1.55), ylim=(-1.55, 1.55), aspect="equal")
    ax.axis("off")


def petals_frame(clouds: Iterable[Any]) -> Frame2D:
    """The square that holds all but the farthest few features of all clouds, the origin, and room for the names."""
    x = np.concatenate([np.zeros((1, 2)), *(np.asarray(cloud) for cloud in clouds)])
    low, high = np.quantile(x, 0.001, axis=0), np.quantile(x, 0.999, axis=0)
    left, bottom = (low + high) / 2
    return float(left), float(bottom), 0.66 * float((high - low).max())


def _class_name(ax: Axes, at: np.ndarray, kind: int) -> None:
    shade = CLASSES[kind % len(CLASSES)]
    ax.text(at[0], at[1], str(kind), color=shade, ha="center", va="center", fontweight="bold")


def _main_direction(x: np.ndarray) -> np.ndarray:
    """Where most of a class lies: the median of its unit vectors, which a stray does not tip."""
    middle = np.median(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), axis=0)  # (2,)
    return middle / max(float(np.linalg.norm(middle)), 1e-12)


def petals_sheet(stages: Iterable[tuple[str, Any]], labels: Any, *, enlarged: bool = False) -> Figure:
    """Pictures `(title, features)`: above, all on one scale; below, their directions alone, or each `enlarged`."""
    pictures = list(stages)
    frame = petals_frame(x for _, x in pictures)
    fig, axes = plt.subplots(2, len(pictures), figsize=(2.15 * len(pictures), 4.75), layout="none", squeeze=False)
    for (title, x), above, below in zip(pictures, *axes, strict=True):
        petals(above, x, labels, frame)
        above.set_title(title, fontsize=10)
        petals(below, x, labels) if enlarged else directions(below, x, labels)
    fig.subplots_adjust(0.005, 0.005, 0.995, 0.9, wspace=0.02, hspace=0.02)
    return fig


def petals_pair(title: str, x: Any, labels: Any, frame: Frame2D, *, enlarged: bool = False) -> Figure:
    """One frame of an animation: the features, and beside them their directions, or the features `enlarged`."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.9), layout="none")
    petals(left, x, labels, frame)
    petals(right, x, labels) if enlarged else directions(right, x, labels)
    left.set_title(r"features $x$")
    right.set_title("the same, enlarged" if enlarged else r"directions $x\,/\,\Vert x \Vert$")
    fig.suptitle(title, fontsize=11, family="DejaVu Sans Mono")
    fig.subplots_adjust(0.01, 0.01, 0.99, 0.84, wspace=0.02)
    return fig


def regions(ax: Axes, weight: Any, bias: Any, reach: float = 2.2) -> None:
    """Where in the plane each class of the linear classifier `(C, 2)`, `(C,)` has the largest logit; its weights."""
    weight, bias = np.asarray(weight, dtype=float), np.asarray(bias, dtype=float)
    line = np.linspace(-reach, reach, 401)
    plane = np.stack(np.meshgrid(line, line), axis=-1)  # (401, 401, 2)
    winner = (plane @ weight.T + bias).argmax(-1)
    shades = [CLASSES[k] for k in REGION_CLASSES[: len(weight)]]
    ax.contourf(line, line, winner, levels=np.arange(len(weight) + 1) - 0.5, colors=shades, alpha=0.22)
    for k, (w, shade) in enumerate(zip(weight, shades, strict=True), start=1):
        ax.annotate(
            "", w, (0, 0), arrowprops={"arrowstyle": "-|>", "color": shade, "lw": 2, "shrinkA": 0, "shrinkB": 0}
        )
        at = w * (1 + 0.27 / np.linalg.norm(w))
        ax.text(at[0], at[1], f"$w_{k}$", color=shade, ha="center", va="center", fontsize=12)
    ax.plot(0, 0, "+", color="#222222", markersize=7, markeredgewidth=1, zorder=5)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.axis("off")


REGION_CLASSES = (0, 6, 3, 4)  # of CLASSES: far apart for every reader
