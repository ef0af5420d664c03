"""Descriptors of pictures whose answer is known: an edge, a ramp, a mirror image, a change of light."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip("skimage", reason='needs scikit-image: pip install "facelearn[real]"')

from facelearn.real_faces.descriptors import DESCRIPTORS, WhitenedPCA, _daisy, _lbp


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """Smooth noise (3, 3, 112, 112) uint8."""
    coarse = torch.rand(3, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    return (255 * torch.nn.functional.interpolate(coarse, 112, mode="bicubic").clamp(0, 1)).byte()


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_a_face_and_its_mirror_image_have_one_description(name: str, faces: torch.Tensor) -> None:
    one, other = DESCRIPTORS[name](faces), DESCRIPTORS[name](faces.flip(3))
    assert one.dtype == np.float32
    assert len(one) == 3
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert np.abs(one[0] - one[1]).max() > 0.01
    with pytest.raises(ValueError, match="expected aligned faces"):
        DESCRIPTORS[name](faces[:, :, :96])


@pytest.mark.parametrize("radii", [(1, 2), (3, 5)])
def test_an_edge_is_seen_as_far_as_the_radius_reaches(radii: tuple[int, int]) -> None:
    """On its bright side pixels have darker neighbours, which a code notes; inside, no other pixel has one."""
    face = np.full((96, 96), 50.0)
    face[:, 52:] = 100  # column 4 of the fifth column of cells
    for radius, found in zip(radii, np.split(_lbp(face, radii) ** 2, 2), strict=True):
        cells = found.reshape(8, 8, 59)
        flat = cells[4, 1].argmax()
        assert cells[4, [1, 2, 3, 5, 6], flat] == pytest.approx(1)
        assert 1 - cells[4, 4, flat] == pytest.approx(radius / 12)
        np.testing.assert_allclose(cells.sum(2), 1)


def test_local_binary_patterns_ignore_light_that_keeps_the_order(faces: torch.Tensor) -> None:
    for name in ("lbp", "wide lbp"):
        dark, light = DESCRIPTORS[name](faces // 2), DESCRIPTORS[name](faces // 2 + 40)
        assert np.abs(dark - light).mean() < 0.02 * np.abs(dark[0] - dark[1]).mean()  # ties may round otherwise


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
def test_daisy_finds_the_direction_of_a_ramp_everywhere(angle: int) -> None:
    y, x = np.mgrid[:96.0, :96.0]
    turn = math.radians(angle)
    face = 120 + 0.8 * (x * math.cos(turn) + y * math.sin(turn))
    histograms = (_daisy(face) ** 2).reshape(9, 9, 13, 8)
    inside = histograms[1:-1, 1:-1]
    assert (inside.argmax(3) == (angle // 45 + 4) % 8).all()  # scikit-image counts from the dark side
    np.testing.assert_allclose(histograms.sum((2, 3)), 1, rtol=1e-6)


def test_whitened_rows_have_length_one_and_equal_spread() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 12)) * np.arange(1, 13) @ rng.normal(size=(12, 12))
    whitened = WhitenedPCA(5).fit(rows)
    np.testing.assert_allclose(np.linalg.norm(whitened(rows), axis=1), 1)
    np.testing.assert_allclose(whitened.pca.transform(rows).std(0, ddof=1), 1, rtol=1e-6)
