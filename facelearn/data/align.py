"""Five-point alignment: turn, scale and shift a face so that its eyes, nose and mouth corners come to lie where
recognition nets have learned to expect them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from facelearn.data.files import to_tensor

# Left eye, right eye, nose, left and right corner of the mouth (left in the picture) in a crop of 112 x 112 pixels; x
# to the right, y down. The template of ArcFace and what followed it. Coordinates count from the centre of the first
# pixel, as in OpenCV and scikit-image. Crops made with Pillow's own transform count from the picture's corner and lie
# (1 - s) / 2 pixels beside these, s being the scale: on LFW .08 on average, .35 at most, and half a grey level darker.
# Moving all of LFW by that changes nothing that five folds could show: with LBP and joint Bayesian the EER of all pairs
# is 12.53 % before, 12.55 % after, and 12.54 % moved the other way.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
SIDE = 112
# What five points may be and still be a face's. Of 6,165 faces of LFW, profiles among them, the worst lies 11.6 pixels
# (root mean square) from the template after the best similarity, and turned by 28 degrees. Points in another order lie
# 14 and more away; all five in reverse fit as well as a face that stands on its head.
FURTHEST, MOST_TURNED = 13.0, 150.0


def similarity(source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """The 2 x 3 matrix M of the similarity (rotation, one scale, shift; no mirror) that brings source close to target.

    It minimises Σ_i ‖M (x_i, y_i, 1)ᵀ − target_i‖² over n >= 2 points, both `(n, 2)`. With points as complex numbers
    a similarity is z → a z + b, so this is a regression line: a = ⟨z, w⟩ / ⟨z, z⟩ of the centred points. The same as
    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 13(4), 1991,
    in two dimensions.
    """
    points = [np.asarray(p, dtype=np.float64) for p in (source, target)]
    if points[0].shape != points[1].shape or points[0].ndim != 2 or points[0].shape[1] != 2 or len(points[0]) < 2:
        found = f"{points[0].shape} and {points[1].shape}"
        raise ValueError(f"source, target: found shapes {found}, expected both (n, 2) with n >= 2")
    z, w = (p[:, 0] + 1j * p[:, 1] for p in points)
    if not (np.isfinite(z).all() and np.isfinite(w).all()) or np.ptp(z.real) == np.ptp(z.imag) == 0:
        raise ValueError("source, target: found points that are not finite, or all one point, expected different ones")
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred)
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align_face(image: Tensor, landmarks: NDArray[Any]) -> Tensor:
    """A face as uint8 `(3, 112, 112)`, or `(1, 112, 112)`: its five landmarks moved onto `TEMPLATE` by a similarity.

    image: uint8 `(3 or 1, H, W)`; landmarks: `(5, 2)`, x and y in pixels, in the order of `TEMPLATE`, counted from the
    centre of the first pixel. Bicubic sampling, rounded; black where the crop reaches over the border. ValueError for
    points that are no face's: outside the picture, shares of its sides, or in another order.
    """
    pixels = image.permute(1, 2, 0).numpy()
    return to_tensor(align_image(Image.fromarray(pixels[:, :, 0] if len(image) == 1 else pixels), landmarks))


def align_image(image: Image.Image, landmarks: NDArray[Any], where: str = "landmarks") -> Image.Image:
    """`align_face` for a Pillow image of mode RGB or L; errors begin with `where`."""
    check_landmarks(landmarks, image.size, where)
    forward = np.vstack([similarity(landmarks, TEMPLATE), [0, 0, 1]])
    inverse = np.linalg.inv(forward)[:2]  # Pillow asks where each new pixel comes from,
    inverse[:, 2] += 0.5 - inverse[:, :2].sum(1) / 2  # and counts from the corner of the picture
    coefficients = tuple(inverse.ravel().tolist())
    warped = [
        # As numbers with a fraction: whole ones Pillow would cut off, so that each crop were half a grey level darker.
        band.convert("F").transform((SIDE, SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
        for band in image.split()
    ]
    pixels = np.rint(np.stack([np.asarray(band) for band in warped], -1)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels.squeeze(-1) if len(warped) == 1 else pixels)


def check_landmarks(landmarks: NDArray[Any], size: tuple[int, int], where: str = "landmarks") -> None:
    """ValueError, beginning with `where`, unless these can be five points of a face in a picture of (width, height).

    They may lie outside by half of their own extent, since faces are cut by the border.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != TEMPLATE.shape:
        raise ValueError(f"{where}: found shape {points.shape}, expected (5, 2)")
    if not np.isfinite(points).all():
        raise ValueError(f"{where}: found landmarks that are not finite, expected pixels")
    extent = np.ptp(points, axis=0).max()
    if extent <= 1:
        raise ValueError(f"{where}: found all landmarks within a pixel, expected pixels, not shares of the picture")
    if (points < -extent / 2).any() or (points > np.array(size) - 1 + extent / 2).any():
        outside = f"x {points[:, 0].min():.0f} to {points[:, 0].max():.0f}, y {points[:, 1].min():.0f} to"
        found = f"landmarks at {outside} {points[:, 1].max():.0f}"
        raise ValueError(f"{where}: found {found}, expected them inside the picture of {size[0]} x {size[1]} pixels")
    matrix = similarity(points, TEMPLATE)
    away = points @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE  # (5, 2)
    residual, turned = math.sqrt((away**2).sum(1).mean()), math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    if residual > FURTHEST or abs(turned) > MOST_TURNED:
        found = f"landmarks {residual:.1f} pixels of 112 from those of a face, turned by {turned:.0f} degrees"
        raise ValueError(
            f"{where}: found {found}, expected at most {FURTHEST:.0f} and {MOST_TURNED:.0f}: x and y of left eye, right"
            " eye, nose, left and right corner of the mouth, as they stand in the picture"
        )


def read_landmarks(path: str | os.PathLike[str]) -> dict[str, NDArray[np.float64]]:
    """Landmarks from a text file with lines `Name/Name_0001.jpg x1 y1 ... x5 y5`: path -> (5, 2).

    The last ten words of a line are the numbers; what stands before them, blanks included, is the path. ValueError with
    file and line where one has another form, or a path comes twice.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for number, line in text_lines(path):
        try:
            name, *numbers = line.strip().rsplit(maxsplit=10)
            points = np.array([float(x) for x in numbers]).reshape(5, 2)
            if not np.isfinite(points).all() or name in found:
                raise ValueError
        except ValueError:
            shown = " ".join(line.split())[:80]
            raise ValueError(f"{path}: line {number}: found {shown!r}, expected a new path and ten numbers") from None
        found[name] = points
    return found


def text_fields(path: str | os.PathLike[str]) -> list[tuple[int, list[str]]]:
    """The lines of a text file that are not blank, split at white space, with their numbers from 1."""
    return [(number, line.split()) for number, line in text_lines(path)]


def text_lines(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers from 1; a byte order mark is passed over."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: offset {error.start}: found no UTF-8 text, expected a list") from None
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
