"""The two nets: sizes they take, parameters they have, and that the digit net learns digits in the plane."""

import pytest
import torch

from facelearn.data import digits
from facelearn.losses import Softmax
from facelearn.models import DigitNet, SmallFaceNet, parameter_count
from facelearn.training import accuracy, fit, seed_everything


def digit_count(d: int) -> int:
    convolutions = (1 * 16 * 9 + 16) + (16 * 32 * 9 + 32)
    return convolutions + (512 * 64 + 64) + (64 * d + d)


def face_count(w: int, d: int, channels: int = 3, final_batchnorm: bool = True) -> int:
    convolutions = 9 * (channels * w + w * 2 * w + 2 * w * 4 * w + 4 * w * 8 * w)
    return convolutions + 2 * (w + 2 * w + 4 * w + 8 * w) + 16 * 8 * w * d + 2 * d * final_batchnorm


def test_parameter_counts() -> None:
    assert parameter_count(DigitNet()) == digit_count(2) == 37_762
    assert parameter_count(DigitNet(3)) == digit_count(3) == 37_827
    assert parameter_count(DigitNet(batchnorm=True)) == digit_count(2) + 2 * 64
    assert parameter_count(SmallFaceNet()) == face_count(8, 64) == 90_312
    assert parameter_count(SmallFaceNet(width=16)) == face_count(16, 64) == 228_880
    plain_grey = SmallFaceNet(32, width=4, final_batchnorm=False, channels=1)
    assert parameter_count(plain_grey) == face_count(4, 32, channels=1, final_batchnorm=False)
    assert parameter_count(SmallFaceNet()) <= 500_000


def test_a_shared_parameter_counts_once() -> None:
    matrix = torch.nn.Linear(3, 3, bias=False)
    assert parameter_count(torch.nn.Sequential(matrix, matrix)) == 9


@pytest.mark.parametrize("size", [8, 16, 28])
def test_digit_net_takes_sizes(size: int) -> None:
    assert DigitNet(3)(torch.rand(2, 1, size, size)).shape == (2, 3)


@pytest.mark.parametrize("size", [32, 48, 64, 112])
def test_face_net_takes_sizes(size: int) -> None:
    assert SmallFaceNet()(torch.rand(2, 3, size, size)).shape == (2, 64)
    assert SmallFaceNet(16, width=4, channels=1)(torch.rand(2, 1, size, size)).shape == (2, 16)


def test_batchnorm_centres_the_cloud() -> None:
    torch.manual_seed(0)
    features = DigitNet(2, batchnorm=True)(torch.rand(200, 1, 8, 8))
    torch.testing.assert_close(features.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.var(0, unbiased=False), torch.ones(2), atol=1e-2, rtol=0)
    assert DigitNet(2)(torch.rand(200, 1, 8, 8)).mean(0).abs().max() > 1e-3
    # in 64 dimensions the squared norms of a normalised cloud sum to 64 per image
    faces = SmallFaceNet()(torch.rand(64, 3, 32, 32))
    assert faces.square().sum(1).mean().item() == pytest.approx(64, rel=0.02)


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (DigitNet(), (2, 3, 8, 8)),
        (DigitNet(), (2, 1, 7, 8)),
        (DigitNet(), (1, 8, 8)),
        (SmallFaceNet(), (2, 1, 32, 32)),
        (SmallFaceNet(), (2, 3, 32, 31)),
    ],
)
def test_wrong_images_are_refused(net: torch.nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images: shape .* expected \(B, [13], H, W\)"):
        net(torch.rand(shape))


@pytest.mark.parametrize("name", ["embedding_dim", "width", "channels"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: 0"):
        SmallFaceNet(**{name: 0})


def test_digit_net_learns_real_digits_in_the_plane() -> None:
    train, test = digits("train"), digits("test")
    seed_everything(0)
    net, loss = DigitNet(2), Softmax(2, 10)
    fit(net, loss, train, epochs=25, batch_size=64, lr=5e-3, device="cpu")
    assert accuracy(net, loss, train) >= 0.99
    assert accuracy(net, loss, test) >= 0.85
