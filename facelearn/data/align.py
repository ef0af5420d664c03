"""Five-point alignment: turn, scale and shift a face so that its eyes, nose and mouth corners come to lie where
recognition nets have learned to expect them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from facelearn.data.files import to_tensor

# Left eye, right eye, nose, left and right corner of the mouth (left in the picture) in a crop of 112 x 112 pixels; x
# to the right, y down. The template of ArcFace and what followed it. Coordinates count from the corner of the picture,
# as Pillow does; who counts from the centre of the first pixel, as OpenCV does, gets a crop a tenth of a pixel off.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
SIDE = 112


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

    image: uint8 `(3 or 1, H, W)`; landmarks: `(5, 2)`, x and y in pixels, in the order of `TEMPLATE`. Bicubic
    sampling; black where the crop reaches over the border.
    """
    pixels = image.permute(1, 2, 0).numpy()
    return to_tensor(align_image(Image.fromarray(pixels[:, :, 0] if len(image) == 1 else pixels), landmarks))


def align_image(image: Image.Image, landmarks: NDArray[Any]) -> Image.Image:
    """`align_face` for a Pillow image."""
    if np.shape(landmarks) != TEMPLATE.shape:
        raise ValueError(f"landmarks: found shape {np.shape(landmarks)}, expected (5, 2)")
    forward = np.vstack([similarity(landmarks, TEMPLATE), [0, 0, 1]])
    inverse = np.linalg.inv(forward)[:2]  # Pillow asks where each new pixel comes from
    coefficients = tuple(inverse.ravel().tolist())
    return image.transform((SIDE, SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)


def read_landmarks(path: str | os.PathLike[str]) -> dict[str, NDArray[np.float64]]:
    """Landmarks from a text file with lines `Name/Name_0001.jpg x1 y1 ... x5 y5`: path -> (5, 2).

    ValueError with file and line where one has another form, or a path comes twice.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for number, fields in text_fields(path):
        try:
            name, *numbers = fields
            points = np.array([float(x) for x in numbers]).reshape(5, 2)
            if not np.isfinite(points).all() or name in found:
                raise ValueError
        except ValueError:
            line = " ".join(fields)[:80]
            raise ValueError(f"{path}: line {number}: found {line!r}, expected a new path and ten numbers") from None
        found[name] = points
    return found


def text_fields(path: str | os.PathLike[str]) -> list[tuple[int, list[str]]]:
    """The lines of a text file that are not blank, split at white space, with their numbers from 1."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: offset {error.start}: found no UTF-8 text, expected a list") from None
    return [(i, line.split()) for i, line in enumerate(lines, 1) if line.strip()]
