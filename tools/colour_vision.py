"""How readers without one kind of cone see the course's colours, and a picture as they see it.

    python tools/colour_vision.py                        # the closest colours of each group that meets in figures
    python tools/colour_vision.py figure.png [--out folder]   # the picture, seen by protan, deutan and tritan readers

Simulation: Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
IEEE TVCG 15(6), 2009, the matrices for severity 1.0, which act on linear RGB. Distance: CIEDE2000.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facelearn import figures
from facelearn.files import write_whole

Array = NDArray[np.float64]
VISION: dict[str, Array] = {
    "all cones": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
APART = 10.0  # CIEDE2000 from which on two colours of lines are told apart without effort

# Losses that stand in one figure: those met most often, the poster of chapter 13, the explorer.
TOGETHER: dict[str, tuple[str, ...]] = {
    "prominent": figures.PROMINENT,
    "poster": ("softmax", "sphereface", "cosface", "arcface", "mv_softmax", "curricularface"),
    "explorer": ("normface", "sphereface", "cosface", "arcface", "combined_margin", "mv_softmax", "curricularface"),
}


def seen(srgb: Array, vision: str) -> Array:
    """Colours `(..., 3)` from 0 to 1 as seen with this vision."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ VISION[vision].T, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def rgb(colour: str) -> Array:
    """`#RRGGBB` as three numbers from 0 to 1."""
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def distance(a: str, b: str, vision: str) -> float:
    """CIEDE2000 between two colours `#RRGGBB`, both seen with this vision."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    one, other = (rgb2lab(seen(rgb(colour), vision)[None, None]) for colour in (a, b))
    return float(deltaE_ciede2000(one, other)[0, 0])


class Close(NamedTuple):
    """Two colours that some readers hardly tell apart."""

    a: str
    b: str
    vision: str
    distance: float


def close(colours: dict[str, str], least: float = APART) -> Iterator[Close]:
    """All pairs of names whose colours come nearer than `least` for some reader, at their nearest."""
    for a, b in combinations(colours, 2):
        found = min((Close(a, b, v, distance(colours[a], colours[b], v)) for v in VISION), key=lambda c: c.distance)
        if found.distance < least:
            yield found


def simulated(picture: Image.Image, vision: str) -> Image.Image:
    """A picture as seen with this vision; what is transparent is white."""
    ground = Image.new("RGBA", picture.size, "white")
    pixels = np.asarray(Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")) / 255
    return Image.fromarray(np.rint(seen(pixels, vision) * 255).astype(np.uint8))


def report() -> Iterator[str]:
    """For each group the nearest colours, and by what else such losses are told apart."""
    for name, stems in TOGETHER.items():
        colours = {stem: figures.COLOURS[stem] for stem in stems}
        yield f"{name}: {len(stems)} losses"
        for pair in sorted(close(colours, least=1000.0), key=lambda c: c.distance)[:3]:
            yield f"  {pair.distance:5.1f}  {pair.vision:9}  {pair.a} / {pair.b}"
    classes = {str(k): shade for k, shade in enumerate(figures.CLASSES)}
    yield "classes of digits (each also carries its number)"
    for pair in sorted(close(classes, least=1000.0), key=lambda c: c.distance)[:3]:
        yield f"  {pair.distance:5.1f}  {pair.vision:9}  {pair.a} / {pair.b}"
    yield f"all losses, pairs nearer than {APART:g}; what sets them apart beside colour"
    for pair in sorted(close(figures.COLOURS), key=lambda c: c.distance):
        cue = "dash" if figures.line(pair.a)["linestyle"] != figures.line(pair.b)["linestyle"] else "label alone"
        yield f"  {pair.distance:5.1f}  {pair.vision:9}  {pair.a} / {pair.b}: {cue}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The course's colours as colour-blind readers see them.")
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build") / "colour_vision")
    options = parser.parse_args()
    if not options.pictures:
        print("\n".join(report()))
    for path in options.pictures:
        options.out.mkdir(parents=True, exist_ok=True)
        for vision in list(VISION)[1:]:
            data = io.BytesIO()
            simulated(Image.open(path), vision).save(data, "PNG")
            target = options.out / f"{path.stem}_{vision}.png"
            write_whole(target, data.getvalue())
            print(target)


if __name__ == "__main__":
    main()
