"""The nets: sizes they take, parameters they have, what they compute; the digit net learns digits in the plane."""

import pytest
import torch

from facelearn.data import ImageSet, SyntheticFaces, digits
from facelearn.losses import Softmax
from facelearn.models import DigitNet, IResNet, SmallFaceNet, iresnet18, parameter_count
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


# ---- IResNet and the kinds of normalisation


def iresnet_count(blocks: tuple[int, ...], d: int, size: int = 112, channels: int = 3) -> int:
    """From the formula: k·k·in·out for a convolution, 2 for each normalised channel, 1 for each channel of a PReLU."""
    total = 9 * channels * 64 + 2 * 64 + 64
    inside = 64
    for outside, number in zip((64, 128, 256, 512), blocks, strict=True):
        for block in range(number):
            here = inside if block == 0 else outside
            total += 2 * here + 9 * here * outside + 2 * outside + outside + 9 * outside * outside + 2 * outside
        total += inside * outside + 2 * outside  # the shortcut of the first block
        inside = outside
    return total + 2 * 512 + (512 * (size // 16) ** 2 * d + d) + 2 * d


@pytest.mark.parametrize(
    ("depth", "blocks", "millions"), [(18, (2, 2, 2, 2), 24.0), (50, (3, 4, 14, 3), 43.6), (100, (3, 13, 30, 3), 65.2)]
)
def test_iresnet_has_the_published_number_of_parameters(depth: int, blocks: tuple[int, ...], millions: float) -> None:
    with torch.device("meta"):
        net = IResNet(depth)
    assert parameter_count(net) == iresnet_count(blocks, 512)
    assert round(parameter_count(net) / 1e6, 1) == millions


def test_iresnet_18_carries_the_names_of_insightface() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in iresnet18().state_dict().items()}
    assert shapes["layer2.0.downsample.0.weight"] == (128, 64, 1, 1)
    assert shapes["layer4.1.conv2.weight"] == (512, 512, 3, 3)
    assert shapes["fc.weight"] == (512, 25088)
    assert {"conv1.weight", "bn1.running_mean", "prelu.weight", "bn2.bias", "features.running_var"} <= set(shapes)
    assert "layer1.1.downsample.0.weight" not in shapes


def test_iresnet_is_the_architecture_written_out() -> None:
    """The function, by hand from the state dict: which layer follows which."""
    torch.manual_seed(0)
    net = IResNet(18, 16, size=32).double().eval()
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    w = net.state_dict()
    F = torch.nn.functional

    def norm(x: torch.Tensor, key: str) -> torch.Tensor:
        shape = (1, -1, 1, 1)[: x.ndim]
        scale = w[f"{key}.weight"] / (w[f"{key}.running_var"] + 1e-5).sqrt()
        return (x - w[f"{key}.running_mean"].view(shape)) * scale.view(shape) + w[f"{key}.bias"].view(shape)

    images = torch.rand(2, 3, 32, 32).double()
    x = F.prelu(norm(F.conv2d(images, w["conv1.weight"], padding=1), "bn1"), w["prelu.weight"])
    for stage in range(1, 5):
        for block in range(2):
            key, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            y = F.conv2d(norm(x, f"{key}.bn1"), w[f"{key}.conv1.weight"], padding=1)
            y = F.prelu(norm(y, f"{key}.bn2"), w[f"{key}.prelu.weight"])
            y = norm(F.conv2d(y, w[f"{key}.conv2.weight"], stride=stride, padding=1), f"{key}.bn3")
            if block == 0:
                x = norm(F.conv2d(x, w[f"{key}.downsample.0.weight"], stride=2), f"{key}.downsample.1")
            x = x + y
    x = norm(x, "bn2").flatten(1) @ w["fc.weight"].T + w["fc.bias"]
    torch.testing.assert_close(net(images), norm(x, "features"), rtol=1e-9, atol=1e-9)


def test_iresnet_trains_in_both_layouts_and_pins_the_last_scale() -> None:
    data = ImageSet(SyntheticFaces(2, 4, 32, seed=3).images[:, :, ::2, ::2], torch.arange(8) // 4)
    found = []
    for channels_last in (False, True):
        seed_everything(0)
        net, loss = IResNet(18, 16, size=16).double(), Softmax(16, 2).double()
        records = fit(net, loss, data, epochs=2, batch_size=8, lr=1e-3, device="cpu", channels_last=channels_last)
        assert net.conv1.weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert torch.equal(net.features.get_parameter("weight"), torch.ones(16).double())
        found.append([r["loss"] for r in records])
    assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.parametrize("kind", ["group", "frozen"])
def test_group_and_frozen_normalisation_see_one_image_at_a_time(kind: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(6, 3, 32, 32)
    for net in (SmallFaceNet(norm=kind), SmallFaceNet(width=11, norm=kind)):
        before = {key: value.clone() for key, value in net.state_dict().items()}
        whole = net(images)
        torch.testing.assert_close(torch.cat([net(images[:2]), net(images[2:])]), whole)
        whole.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())  # statistics stay
    assert parameter_count(SmallFaceNet(norm=kind)) == parameter_count(SmallFaceNet())
    assert not torch.allclose(SmallFaceNet()(images)[:2], SmallFaceNet()(images[:2]))


def test_frozen_normalisation_is_batchnorm_in_eval_mode() -> None:
    torch.manual_seed(0)
    usual, frozen = SmallFaceNet(), SmallFaceNet(norm="frozen")
    for buffer in usual.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    frozen.load_state_dict(usual.state_dict())
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(frozen.train()(images), usual.eval()(images))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"depth": 19}, "depth: 19; expected one of 18, 34"),
        ({"size": 100}, "size: 100; expected a multiple of 16"),
        ({"norm": "layer"}, "norm: 'layer'"),
    ],
)
def test_iresnet_refuses_what_it_cannot_be(settings: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        IResNet(**settings)
    with pytest.raises(ValueError, match=r"expected \(B, 3, 32, 32\)"):
        IResNet(18, 8, size=32)(torch.rand(1, 3, 112, 112))
