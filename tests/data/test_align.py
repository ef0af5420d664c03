"""The similarity and the warp, against second derivations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.optimize import least_squares

from facelearn.data.align import TEMPLATE, align_face, read_landmarks, similarity
from tests.data.make import picture


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


def test_warp_against_scipy_splines() -> None:
    """A smooth picture, so that one interpolation is as good as another; the border apart."""
    image = picture(3, (150, 160))
    rng = np.random.default_rng(0)
    landmarks = TEMPLATE * 1.1 + [14, 10] + rng.normal(0, 2, (5, 2))
    inverse = np.linalg.inv(np.vstack([umeyama(landmarks, TEMPLATE), [0, 0, 1]]))
    y, x = np.mgrid[:112, :112]
    there = inverse @ np.stack([x.ravel() + 0.5, y.ravel() + 0.5, np.ones(x.size)])  # centres of the new pixels
    expected = [
        map_coordinates(image[:, :, c].astype(float), [there[1] - 0.5, there[0] - 0.5], order=3).reshape(112, 112)
        for c in range(3)
    ]
    found = align_face(torch.from_numpy(image.transpose(2, 0, 1).copy()), landmarks)
    assert found.shape == (3, 112, 112)
    assert np.abs(found.numpy() - np.stack(expected)).max() < 2
    grey = align_face(torch.from_numpy(image[None, :, :, 0].copy()), landmarks)
    assert torch.equal(grey[0], found[0])


def test_outside_is_black_and_wrong_landmarks_are_refused() -> None:
    white = torch.full((3, 40, 40), 255, dtype=torch.uint8)
    found = align_face(white, TEMPLATE)
    assert found[:, :40, :40].eq(255).all()
    assert found[:, 41:].eq(0).all()
    with pytest.raises(ValueError, match=r"landmarks: found shape \(4, 2\), expected \(5, 2\)"):
        align_face(white, TEMPLATE[:4])


def test_landmark_files(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.txt"
    path.write_text("A/A_0001.jpg\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10.5\n\nB/B_0001.jpg 1 2 3 4 5 6 7 8 9 10\n")
    found = read_landmarks(path)
    assert list(found) == ["A/A_0001.jpg", "B/B_0001.jpg"]
    assert found["A/A_0001.jpg"].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.5]]
    for bad in ("C 1 2 3", "C 1 2 3 4 5 6 7 8 9 ten", "C 1 2 3 4 5 6 7 8 9 nan", "A/A_0001.jpg" + " 1" * 10):
        path.write_text(f"A/A_0001.jpg {'1 ' * 10}\n{bad}\n")
        with pytest.raises(ValueError, match=f"landmarks.txt: line 2: found '{bad}', expected a new path and ten"):
            read_landmarks(path)
