"""Face maps by hand-made gradients, their mirror, the augmentation, and a training that repeats."""

import math

import pytest
import torch

from facelearn.data.image_set import to_float
from facelearn.real_faces import recipe
from facelearn.real_faces.recipe import FaceAugment, embed_faces, face_views, mirrored, packed, train, unpacked


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """Smooth noise (24, 3, 112, 112) uint8."""
    coarse = torch.rand(24, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    return (255 * torch.nn.functional.interpolate(coarse, 112, mode="bicubic").clamp(0, 1)).byte()


def plane(angle: float) -> torch.Tensor:
    """Grey (1, 3, 112, 112) whose root rises by .04 a pixel along the angle: a gradient of .08 over two pixels."""
    y, x = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
    turn = math.radians(angle)
    return (12 + 0.04 * (x * math.cos(turn) + y * math.sin(turn))).square().expand(1, 3, 112, 112)


@pytest.mark.parametrize("angle", [0.0, 22.5, 45.0, 90.0, 157.5])
def test_a_ramp_lands_in_the_map_of_its_direction(angle: float) -> None:
    share = (recipe._maps(plane(angle))[0, :8, 4:-4, 4:-4].float() / 255).square().mean((1, 2))  # (8,)
    assert share.argmax() == round(angle / 22.5)
    assert share.max() == pytest.approx(0.08 / (0.08 + 0.15), rel=0.02)
    assert share.max() > 0.95 * share.sum()


def test_a_ramp_between_two_directions_is_shared() -> None:
    share = (recipe._maps(plane(11.25))[0, :8, 4:-4, 4:-4].float() / 255).square().mean((1, 2))
    assert share[:2].tolist() == pytest.approx([0.04 / 0.23] * 2, rel=0.02)
    assert share[2:].max() < 0.01


def test_maps_of_the_mirror_image_are_the_mirrored_maps(faces: torch.Tensor) -> None:
    difference = (face_views(faces.flip(3)).int() - mirrored(face_views(faces)).int()).abs()
    assert difference.max() <= 1  # rounding


def test_maps_ignore_brightness_and_contrast_of_colour(faces: torch.Tensor) -> None:
    dim = recipe._maps(faces.float() * 0.5 + 20)[:, 8:].int()
    assert (dim - recipe._maps(faces.float())[:, 8:].int()).abs().max() <= 1


def still(**changed: float) -> FaceAugment:
    """An augmentation that does nothing but mirror, and what is asked for."""
    none = dict.fromkeys(("rotation", "zoom", "shift", "gain", "colour", "grey", "hidden"), 0.0)
    return FaceAugment(**(none | changed))


def test_augmentation_of_no_strength_is_the_middle_or_its_mirror(faces: torch.Tensor) -> None:
    views = face_views(faces).float()
    pixels, maps = unpacked(views)
    middle = packed(pixels[:, :, 4:-4, 4:-4], maps[:, :, 2:-2, 2:-2])
    seen = still()(views, torch.Generator().manual_seed(0))
    kept = (seen - middle).abs().amax((1, 2, 3)) < 2e-2
    turned = (seen - mirrored(middle)).abs().amax((1, 2, 3)) < 2e-2
    assert (kept ^ turned).all()
    assert 4 <= kept.sum() <= 20


def test_augmentation_moves_pixels_and_maps_together_by_what_it_says() -> None:
    """A bright cell lands where the similarity sends it: sd of its place is the sd of the shift."""
    maps = torch.zeros(1500, 1, 28, 28)
    maps[:, :, 13:15, 13:15] = 1
    pixels = maps.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)
    seen = still(shift=0.05)(packed(pixels, maps.repeat(1, 11, 1, 1)), torch.Generator().manual_seed(1))
    large, small = (part[:, 2] if part.shape[1] == 3 else part[:, 8] for part in unpacked(seen))
    place = (small * torch.arange(24.0)).sum((1, 2)) / small.sum((1, 2))
    expected = 0.05 * 28  # cells of the stored image; one seen cell is one stored cell
    assert place.std() == pytest.approx(expected, rel=0.1)
    assert place.mean() == pytest.approx(11.5, abs=0.1)
    of_pixels = (large * torch.arange(48.0)).sum((1, 2)) / large.sum((1, 2))
    torch.testing.assert_close((of_pixels - 0.5) / 2, place, rtol=0, atol=0.02)


def test_light_and_colour_change_pixels_alone_and_grey_has_no_colour(faces: torch.Tensor) -> None:
    views = to_float(face_views(faces).repeat(40, 1, 1, 1))
    plain, lit = (unpacked(a(views, torch.Generator().manual_seed(2))) for a in (still(), still(gain=0.2, colour=0.08)))
    assert torch.equal(plain[1], lit[1])
    shift = (lit[0] - plain[0] * (lit[0].std((1, 2, 3)) / plain[0].std((1, 2, 3)))[:, None, None, None]).mean((2, 3))
    assert shift.mean(1).std() == pytest.approx((0.2**2 + 0.08**2 / 3) ** 0.5, rel=0.15)
    assert (shift - shift.mean(1, keepdim=True)).square().sum(1).mean().sqrt() == pytest.approx(0.08 * 2**0.5, rel=0.15)
    grey = unpacked(still(grey=0.2)(views, torch.Generator().manual_seed(2)))[0]
    assert ((grey - grey.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6).float().mean() == pytest.approx(
        0.2, abs=0.05
    )


def test_hidden_rectangles_blank_the_same_cells_of_pixels_and_maps() -> None:
    seen = still(hidden=0.5)(torch.ones(2000, 23, 28, 28), torch.Generator().manual_seed(3))
    pixels, maps = unpacked(seen)
    blank = maps[:, 0] == 0
    assert torch.equal(blank.repeat_interleave(2, 1).repeat_interleave(2, 2), pixels[:, 0] == 0)
    assert torch.equal(blank[:, None].expand(-1, 11, -1, -1), maps == 0)
    assert blank.any(2).any(1).float().mean() == pytest.approx(0.5, abs=0.05)
    sides = blank.any(2).sum(1)
    assert sides.max() <= 11


def test_training_repeats_and_learns(faces: torch.Tensor) -> None:
    maps = face_views(faces).repeat(4, 1, 1, 1)
    labels = torch.arange(24).repeat(4)
    for loss in ("arcface", "supcon"):
        nets = [train(maps, labels, loss, seed=seed, steps=8, width=2) for seed in (0, 0, 1)]
        (first, features), (again, _), (other, _) = (embed_faces(net, maps) for net in nets)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert first.shape == (96, 128)
        assert features.shape == (96, 8 * 2 * 36)
        assert torch.equal(first, first[:24].repeat(4, 1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="about CPUs")
def test_half_precision_is_for_processors_that_have_it(faces: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, labels, found = face_views(faces), torch.arange(24) // 4, []
    for units in ({}, {"avx512_bf16": True}, {"amx_bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda units=units: units, raising=False)
        assert recipe.quick_in_bf16() == ("amx_bf16" in units)  # AVX-512 knows the format and is no quicker in it
        found.append(embed_faces(train(maps, labels, "arcface", seed=0, steps=2, width=2), maps)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    torch.testing.assert_close(found[0], found[2], rtol=0.3, atol=0.3)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not recipe.quick_in_bf16()


def test_a_face_and_its_mirror_image_have_one_embedding(faces: torch.Tensor) -> None:
    torch.manual_seed(0)
    net, maps = recipe.RealFaceNet(4).eval(), face_views(faces)
    for one, other in zip(embed_faces(net, maps), embed_faces(net, mirrored(maps)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_every_loss_gets_the_steps_it_is_given() -> None:
    labels = torch.arange(60).repeat_interleave(5)
    for loss in recipe.LOSSES:
        batches, epochs = recipe.plan(loss, labels, 40)
        an_epoch = batches(labels, 1, torch.Generator().manual_seed(0))
        assert abs(epochs * len(an_epoch) - 40) <= len(an_epoch) / 2
        assert all(len(batch) == 128 for batch in an_epoch)


def test_what_does_not_fit_is_refused(faces: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        face_views(faces.float())
    with pytest.raises(ValueError, match="views: shape"):
        recipe.RealFaceNet(4)(torch.zeros(2, 11, 28, 28))
    with pytest.raises(ValueError, match="loss: 'no'"):
        train(face_views(faces), torch.arange(24), "no", seed=0, steps=1)
