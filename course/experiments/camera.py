"""Chapter 00: photos as a camera takes them, where the eyes stand in them, and the whole way to a decision."""

from __future__ import annotations

from functools import lru_cache

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from experiments import game
from matplotlib.figure import Figure
from torch import Tensor

from facelearn import figures
from facelearn.data import SyntheticFaces, standard
from facelearn.data.align import similarity
from facelearn.data.face_renderer import CENTRE, CROP
from facelearn.models import pretrained


def landmarks(drawn: SyntheticFaces) -> Tensor:
    """Left eye, right eye, tip of the nose, corners of the mouth, as they stand in the picture.  float64 (N, 5, 2)

    In pixels from the centre of the first one. The renderer asks of each pixel which point of the face it shows; here
    the same steps are gone the other way. Exact at the eyes, below them to a pixel or so.
    """
    t = {name: values[drawn.identities].double()[:, None] for name, values in drawn.traits.items()}
    n = {name: values.double()[:, None] for name, values in drawn.nuisance.items()}
    tip, width = t["eye_y"] + 0.01 + t["nose_len"], t["mouth_w"] * (1 + 0.16 * n["smile"])
    corner = tip + t["mouth_dy"] - 0.6 * (0.030 * t["mouth_curve"] + 0.075 * n["smile"])
    nose = 0.055 * t["nose_h"] * n["yaw"].sin(), tip + 0.03 * n["pitch"].sin()
    u = torch.cat([-t["eye_dx"], t["eye_dx"], nose[0], -width, width], 1) / t["face_w"]  # glued to the face
    v = torch.cat([t["eye_y"], t["eye_y"], nose[1], corner, corner], 1) / t["face_h"]
    depth = (1 - u * u - v * v).sqrt()  # a head is a unit sphere: turn it
    y, depth = v * n["pitch"].cos() + depth * n["pitch"].sin(), depth * n["pitch"].cos() - v * n["pitch"].sin()
    x, low = u * n["yaw"].cos() + depth * n["yaw"].sin(), y.clamp(0, 1.3)
    cheek = t["cheekbone"] * (1 - ((y - 0.12) * 2.2) ** 2).clamp(min=0) ** 2
    x = x * (1 - low**2 * t["jaw"] + cheek) * t["face_w"] * (1 + 0.10 * n["yaw"].sin().abs())
    point = torch.complex(x + low * 0.16 * n["yaw"].sin(), y * t["face_h"] - CENTRE)
    point = point * CROP * torch.polar(n["zoom"].exp(), n["roll"])  # the camera: zoom, roll, shift
    point = point + torch.complex(n["shift_x"], n["shift_y"])
    return (torch.view_as_real(point) + 1) * (drawn.images.shape[-1] / 2) - 0.5


def photos(people: int, each: int = 2, seed: int = 70) -> SyntheticFaces:
    """Strangers as a camera finds them: small, tilted and off the middle, 112 pixels a side."""
    count, generator = people * each, torch.Generator().manual_seed(seed)
    tilt = 0.12 * torch.arange(-5, 6)[torch.randperm(11 * (count // 11 + 1), generator=generator)[:count] % 11]
    shift = 0.25 * (2 * torch.rand(2, count, generator=generator) - 1)
    fixed: dict[str, float | Tensor] = {"roll": tilt, "shift_x": shift[0], "shift_y": shift[1], "zoom": -0.45}
    return SyntheticFaces(people, each, 112, seed, 0.6, "open", fixed=fixed, cache=False)


@lru_cache(maxsize=1)
def template() -> Tensor:
    """Where the nets of the course expect the five points, in a crop of 32 pixels: their mean in training images."""
    return landmarks(standard("fit", identities=100)).mean(0)


def crop(image: Tensor, matrix: Tensor, side: int = 32) -> Tensor:
    """The part of a picture (3, S, S) that `matrix` (2, 3) moves into a crop.  float (3, side, side)"""
    line = torch.arange(side, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    new = torch.stack([x, y], -1)  # (side, side, 2)
    old = (new - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T
    grid = ((2 * old + 1) / image.shape[-1] - 1).float()
    return F.grid_sample(image[None].float(), grid[None], align_corners=False)[0]


def whole_way() -> Figure:
    """Two photos of one stranger, from the camera to a decision."""
    drawn = photos(5)
    images, points = drawn.images[-2:], landmarks(drawn)[-2:]
    matrices = [torch.from_numpy(similarity(five.numpy(), template().numpy())) for five in points]
    crops = torch.stack([crop(*one) for one in zip(images, matrices, strict=True)])
    with torch.no_grad():
        x = F.normalize(pretrained(game.NET)(crops / 127.5 - 1))  # (2, d)
    fig, axes = plt.subplots(2, 4, figsize=(9.2, 4), gridspec_kw={"width_ratios": [1, 1, 1.5, 1.1]})
    for row, image, point, face, vector in zip(axes, images, points, crops, x, strict=True):
        row[0].imshow(image.permute(1, 2, 0))
        row[0].plot(*point.T, "+", color="#00E5FF", markersize=8)
        low, high = point.amin(0), point.amax(0)
        middle, half = (low + high) / 2, 1.2 * float((high - low).max())
        box = plt.Rectangle(tuple(middle - half), 2 * half, 2 * half, fill=False, edgecolor="#FFE100", linewidth=1.5)
        row[0].add_patch(box)
        row[1].imshow(face.permute(1, 2, 0).byte())
        row[2].bar(range(len(vector)), vector, color=figures.BLUE, width=1)
        row[2].set(ylim=(-0.45, 0.45), yticks=[], xticks=[])
        for ax in (row[0], row[1], row[3]):
            ax.axis("off")
    for ax, title in zip(axes[0], ("detect", "align", "embed", "compare, decide"), strict=True):
        ax.set_title(title)
    score, threshold = float(x[0] @ x[1]), game.threshold()
    answer = "same person" if score >= threshold else "not the same"
    words = f"cosine {score:.2f}\n\nthreshold {threshold:.2f}\n\n{answer}"
    axes[0, 3].text(0.5, 0.0, words, ha="center", va="center", fontsize=12, transform=axes[0, 3].transAxes)
    return fig
