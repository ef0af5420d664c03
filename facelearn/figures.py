"""How the course draws: one style, one colour per loss, small pictures with the same bytes every time.

Figures draw what they are given; nothing here trains or loads. Recurring pictures have one function each.
"""

from __future__ import annotations

import io
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
BLUE, ORANGE = COLOURS["cosface"], COLOURS["arcface"]  # where no loss is meant: everybody can tell them apart

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


def det(ax: Axes, far: Any, frr: Any, **style: Any) -> None:
    """The detection error trade-off: FRR against FAR, both on the scale of normal deviates (scikit-learn draws it).

    far, frr: (T,), as `roc.far` and `1 - roc.tar` of a result; normal scores of two kinds give a straight line. Source:
    Martin et al., Eurospeech 1997. `style` goes to the line; points with a rate of 0 or 1 lie at infinity.

        >>> figures.det(ax, result.roc.far, 1 - result.roc.tar, **figures.line("arcface"))
    """
    from sklearn.metrics import DetCurveDisplay

    DetCurveDisplay(fpr=np.asarray(far), fnr=np.asarray(frr)).plot(ax, **style)
    ax.set(xlabel="false accept rate", ylabel="false reject rate")


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
