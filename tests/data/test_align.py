"""The similarity and the warp, against second derivations."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.optimize import least_squares

from facelearn.data.align import TEMPLATE, align_face, check_landmarks, read_landmarks, similarity
from tests.data.make import picture

REAL = os.environ.get("FACELEARN_DATA")


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Equations 40 to 43 of the paper, by a singular value decomposition."""
    mean = source.mean(0), target.mean(0)
    x, y = source - mean[0], target - mean[1]
    u, d, vt = np.linalg.svd(y.T @ x / len(x))
    s = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ s @ vt
    scale = np.trace(np.diag(d) @ s) / x.var(0).sum()
    return np.hstack([scale * rotation, (mean[1] - scale * rotation @ mean[0])[:, None]])


@pytest.mark.parametrize("seed", range(5))
def test_similarity_against_umeyama_and_a_general_optimiser(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 30, (5, 2)) + 100
    target = rng.normal(0, 30, (5, 2)) if seed % 2 else source @ [[0.4, 0.9], [-0.9, 0.4]] + rng.normal(0, 3, (5, 2))
    found = similarity(source, target)
    np.testing.assert_allclose(found, umeyama(source, target), atol=1e-9)

    def residual(p: np.ndarray) -> np.ndarray:
        return (source @ np.array([[p[0], p[1]], [-p[1], p[0]]]) + p[2:] - target).ravel()

    best = least_squares(residual, np.zeros(4), xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    np.testing.assert_allclose(found, [[best[0], -best[1], best[2]], [best[1], best[0], best[3]]], atol=1e-5)


def test_similarity_is_exact_where_there_is_one_and_never_mirrors() -> None:
    angle, scale, shift = 0.7, 1.9, np.array([12.0, -7.0])
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = similarity(TEMPLATE, TEMPLATE @ matrix.T + shift)
    np.testing.assert_allclose(found, np.hstack([matrix, shift[:, None]]), atol=1e-12)
    mirrored = TEMPLATE * [-1, 1]
    assert np.linalg.det(similarity(TEMPLATE, mirrored)[:, :2]) > 0


@pytest.mark.parametrize(
    "points", [np.ones((5, 2)), np.full((5, 2), np.nan), np.ones((1, 2)), np.ones((5, 3)), np.ones((4, 2))]
)
def test_similarity_refuses(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="source, target: found"):
        similarity(points, TEMPLATE)


def test_warp_counts_from_pixel_centres_and_rounds() -> None:
    """Against a bicubic interpolation written out in float64: its weights for a distance, a = -1 as Pillow has it."""
    image = picture(5, (200, 210))
    landmarks = TEMPLATE * 1.6 + [9.3, 14.8]
    matrix = np.linalg.inv(np.vstack([umeyama(landmarks, TEMPLATE), [0, 0, 1]]))[:2]
    y, x = np.mgrid[:112, :112]
    there = np.einsum("ij,jyx->iyx", matrix, np.stack([x, y, np.ones_like(x)]))  # (2, 112, 112), x and y

    def weight(d: np.ndarray) -> np.ndarray:
        d = np.abs(d)
        return np.where(d < 1, d**3 - 2 * d**2 + 1, np.where(d < 2, -(d**3) + 5 * d**2 - 8 * d + 4, 0))

    low = np.floor(there).astype(int)
    expected = np.zeros((112, 112, 3))
    for dy in range(-1, 3):
        for dx in range(-1, 3):
            share = weight(there[0] - low[0] - dx) * weight(there[1] - low[1] - dy)
            expected += share[..., None] * image[low[1] + dy, low[0] + dx]
    found = align_face(torch.from_numpy(image.transpose(2, 0, 1).copy()), landmarks).permute(1, 2, 0).numpy()
    assert np.abs(found - np.rint(expected).clip(0, 255)).max() <= 1  # a rounding of float32
    assert (found != np.rint(expected).clip(0, 255)).mean() < 0.01
    assert abs((found - expected).mean()) < 0.01


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (TEMPLATE[[1, 0, 2, 4, 3]], "landmarks 22.6 pixels of 112 from those of a face"),  # the right eye first
        (TEMPLATE[[0, 1, 2, 4, 3]], "landmarks .* pixels of 112"),
        (TEMPLATE[[2, 0, 1, 3, 4]], "landmarks .* pixels of 112"),
        (TEMPLATE[:, ::-1], "landmarks .* pixels of 112"),
        (TEMPLATE.T.reshape(5, 2), "landmarks .* pixels of 112"),  # x1 ... x5 y1 ... y5
        (TEMPLATE[::-1], "turned by -?1[78]. degrees"),
        (TEMPLATE / 112, "all landmarks within a pixel"),
        (
            TEMPLATE * 4,
            r"landmarks at x 153 to 294, y 206 to 369, expected them inside the picture of 120 x 130 pixels",
        ),
        (TEMPLATE - 100, "landmarks at x -62 to -26"),
        (TEMPLATE * np.nan, "not finite"),
    ],
)
def test_points_that_are_no_face_are_named(points: np.ndarray, told: str) -> None:
    with pytest.raises(ValueError, match=rf"^points.txt: Ann: found .*{told}"):
        check_landmarks(points, (120, 130), "points.txt: Ann")


def test_turned_cut_and_sidelong_faces_are_faces() -> None:
    centre = TEMPLATE.mean(0)
    for degrees in (0, 30, -90, 140):
        angle = math.radians(degrees)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        check_landmarks((TEMPLATE - centre) @ turn.T + 65, (130, 130))
    check_landmarks(TEMPLATE, (112, 80))  # the mouth is beyond the border
    sidelong = TEMPLATE.copy()
    sidelong[:, 0] = centre[0] + 0.25 * (sidelong[:, 0] - centre[0]) + [0, 0, -14, 0, 0]
    check_landmarks(sidelong, (112, 112))


@pytest.mark.skipif(REAL is None, reason="FACELEARN_DATA is not set: no landmarks of photographs")
def test_every_face_of_lfw_is_one() -> None:
    """And in another order hardly any: what the limit was chosen by."""
    points = read_landmarks(Path(REAL or "") / "lfw/lfw_landmark_sets1-5.txt")
    for name, five in points.items():
        check_landmarks(five, (250, 250), name)
    for order in ([1, 0, 2, 4, 3], [0, 1, 2, 4, 3], [2, 0, 1, 3, 4], [0, 1, 3, 4, 2]):
        for name, five in list(points.items())[::50]:
            with pytest.raises(ValueError, match=r"landmarks .* pixels of 112"):
                check_landmarks(five[order], (250, 250), name)


def test_warp_against_scipy_splines() -> None:
    """A smooth picture, so that one interpolation is as good as another; the border apart."""
    image = picture(3, (150, 160))
    rng = np.random.default_rng(0)
    landmarks = TEMPLATE * 1.1 + [14, 10] + rng.normal(0, 2, (5, 2))
    inverse = np.linalg.inv(np.vstack([umeyama(landmarks, TEMPLATE), [0, 0, 1]]))
    y, x = np.mgrid[:112, :112]
    there = inverse @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    expected = [
        map_coordinates(image[:, :, c].astype(float), [there[1], there[0]], order=3).reshape(112, 112) for c in range(3)
    ]
    found = align_face(torch.from_numpy(image.transpose(2, 0, 1).copy()), landmarks)
    assert found.shape == (3, 112, 112)
    assert np.abs(found.numpy() - np.stack(expected)).max() < 2
    grey = align_face(torch.from_numpy(image[None, :, :, 0].copy()), landmarks)
    assert torch.equal(grey[0], found[0])


def test_outside_is_black_and_wrong_landmarks_are_refused() -> None:
    white = torch.full((3, 80, 80), 255, dtype=torch.uint8)
    found = align_face(white, TEMPLATE)
    assert found[:, :80, :80].eq(255).all()
    assert found[:, 81:].eq(0).all()
    with pytest.raises(ValueError, match=r"landmarks: found shape \(4, 2\), expected \(5, 2\)"):
        align_face(white, TEMPLATE[:4])


def test_landmark_files(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.txt"
    ten = "1\t2\t3\t4\t5\t6\t7\t8\t9\t10"
    path.write_text(f"\ufeffA/A_0001.jpg\t{ten}.5\r\n\r\nB/B 1 2.jpg {ten}\n Ann Lee/img.png\t{ten}\n", newline="")
    found = read_landmarks(path)
    assert list(found) == ["A/A_0001.jpg", "B/B 1 2.jpg", "Ann Lee/img.png"]
    assert found["A/A_0001.jpg"].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.5]]
    for bad in ("C 1 2 3", "C 1 2 3 4 5 6 7 8 9 ten", "C 1 2 3 4 5 6 7 8 9 nan", "A/A_0001.jpg" + " 1" * 10):
        path.write_text(f"A/A_0001.jpg {'1 ' * 10}\n{bad}\n")
        with pytest.raises(ValueError, match=f"landmarks.txt: line 2: found '{bad}', expected a new path and ten"):
            read_landmarks(path)
