"""Classical descriptions of a face, made by hand and not learned: pixels, HOG, LBP with small and wide circles, DAISY.

HOG, LBP and DAISY are scikit-image's, PCA scikit-learn's. Each takes aligned faces `(N, 3, 112, 112)` uint8 to
`(N, D)` float32, the mean over an image and its mirror image. `WhitenedPCA` then keeps the directions in which the
training images differ most, all made equally long.

Sources: Turk and Pentland, "Eigenfaces for Recognition", J. Cognitive Neuroscience 3(1), 1991 (pixels); Dalal and
Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005 (HOG); Ahonen, Hadid and Pietikäinen, "Face
Description with Local Binary Patterns", TPAMI 28(12), 2006 (LBP); Tola, Lepetit and Fua, "DAISY: An Efficient Dense
Descriptor Applied to Wide-Baseline Stereo", TPAMI 32(5), 2010 (DAISY).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from facelearn.real_faces.recipe import LUMA

Array = NDArray[Any]
EDGE = 8  # of the 112 pixels a side; what is cut off shows hair and background


def pixels(images: Tensor) -> Array:
    """Grey values of 32 x 32 pixels, each image with mean 0 and length 1: (N, 1024)."""
    return _described(images, _pixels)


def hog(images: Tensor) -> Array:
    """Histograms of oriented gradients, 9 orientations, cells of 8 and of 16 pixels, blocks of 2 x 2 cells."""
    return _described(images, _hog)


def lbp(images: Tensor) -> Array:
    """Square roots of histograms of uniform local binary patterns: radius 1 and 2 in 8 x 8 cells of 12 pixels each."""
    return _described(images, _lbp)


def wide_lbp(images: Tensor) -> Array:
    """The same with radius 3 and 5: what `lbp` says of the finest detail, these say of what surrounds it."""
    return _described(images, lambda face: _lbp(face, (3, 5)))


def daisy(images: Tensor) -> Array:
    """Square roots of DAISY at 9 x 9 places, 8 pixels apart: 13 histograms of 8 orientations within 12 pixels each."""
    return _described(images, _daisy)


DESCRIPTORS: dict[str, Callable[[Tensor], Array]] = {
    "pixels": pixels, "hog": hog, "lbp": lbp, "wide lbp": wide_lbp, "daisy": daisy,
}  # fmt: skip


class WhitenedPCA:
    """Principal components of the training rows, each divided by its standard deviation; rows of length 1.

    The length is taken away since contrast and noise live in it, and joint Bayesian's Gaussian expects rows of one
    size: with it, pixels lose several points of accuracy.
    """

    def __init__(self, dimensions: int = 200) -> None:
        self.pca = PCA(dimensions, whiten=True, svd_solver="randomized", random_state=0)

    def fit(self, rows: Array) -> WhitenedPCA:
        self.pca.fit(rows)
        return self

    def __call__(self, rows: Array) -> Array:
        """(N, D) → (N, dimensions), rows of length 1."""
        return unit_rows(self.pca.transform(rows))


def unit_rows(rows: Array) -> Array:
    """Rows divided by their length; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def _described(images: Tensor, describe: Callable[[Array], Array]) -> Array:
    if images.ndim != 4 or images.shape[1:] != (3, 112, 112):
        raise ValueError(f"images: shape {tuple(images.shape)}; expected aligned faces (N, 3, 112, 112)")
    rows = []
    for image in images:
        face = np.tensordot(np.array(LUMA, np.float32), image.numpy(), 1)[EDGE:-EDGE, EDGE:-EDGE]  # (96, 96)
        rows.append((describe(face) + describe(face[:, ::-1])) / 2)
    return np.stack(rows).astype(np.float32)


def _pixels(face: Array) -> Array:
    small = face.reshape(32, 3, 32, 3).mean((1, 3)).ravel()  # (1024,)
    small = small - small.mean()
    return small / max(np.linalg.norm(small), 1e-6)


def _hog(face: Array) -> Array:
    from skimage.feature import hog as histogram

    return np.concatenate([
        histogram(face, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2), transform_sqrt=True)
        for cell in (8, 16)
    ])  # fmt: skip


def _lbp(face: Array, radii: tuple[int, ...] = (1, 2)) -> Array:
    from skimage.feature import local_binary_pattern

    levels = face.round().astype(np.uint8)
    histograms = []
    for radius in radii:
        codes = local_binary_pattern(levels, 8, radius, method="nri_uniform").astype(np.int64)  # 0 ... 58
        cells = codes.reshape(8, 12, 8, 12).swapaxes(1, 2).reshape(64, 144)
        flat = (cells + 59 * np.arange(64)[:, None]).ravel()
        histograms.append(np.bincount(flat, minlength=64 * 59))
    return np.sqrt(np.concatenate(histograms) / 144)


def _daisy(face: Array) -> Array:
    from skimage.feature import daisy as histograms

    found = histograms(face / 255, step=8, radius=12, rings=2, histograms=6, orientations=8, normalization="l1")
    return np.sqrt(found.clip(min=0)).ravel()
