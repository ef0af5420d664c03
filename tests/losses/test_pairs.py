"""What all the losses on pairs and triplets promise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facelearn.losses import SupCon
from tests.losses.conformance import PAIR, batch, hostile, value_and_gradients

pairs = pytest.mark.parametrize("make", PAIR.values(), ids=PAIR)
#: they bring embeddings to length 1 themselves
UNIT = {name: make for name, make in PAIR.items() if name not in ("contrastive", "triplet-raw")}
unit_pairs = pytest.mark.parametrize("make", UNIT.values(), ids=UNIT)
#: a value per anchor
ANCHORED = {name: make for name, make in PAIR.items() if not name.startswith("contrastive")}


@pairs
@given(seed=st.integers(0, 10_000))
@settings(max_examples=6, deadline=None)
def test_rotating_renaming_and_reordering_change_nothing(make, seed):
    x, y = batch(seed, C=4)
    g = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, dtype=x.dtype, generator=g))
    order, names = torch.randperm(len(x), generator=g), torch.tensor([-7, 10**12, 3, 0])
    want = make()(x, y)
    torch.testing.assert_close(make()(x @ rotation, y), want, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(make()(x[order], y[order]), want, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(make()(x, names[y]), want, rtol=0, atol=0)


@unit_pairs
@given(seed=st.integers(0, 10_000), length=st.floats(1e-3, 1e3))
@settings(max_examples=6, deadline=None)
def test_lengths_do_not_matter_and_gradients_are_tangent(make, seed, length):
    x, y = batch(seed, C=4)
    got, want = value_and_gradients(make(), length * x, y), value_and_gradients(make(), x, y)
    torch.testing.assert_close(got["loss"], want["loss"], rtol=1e-10, atol=1e-12)
    gradient = want["grad_embeddings"]
    torch.testing.assert_close(length * got["grad_embeddings"], gradient, rtol=1e-7, atol=1e-10)
    assert (gradient * x).sum(1).abs().max() < 1e-10 * (1 + gradient.abs().max())


@pairs
def test_moving_all_embeddings_together_matters_only_where_they_are_normalised(make):
    x, y = batch(C=4)
    moved = torch.allclose(make()(x + 1, y), make()(x, y), rtol=1e-9)
    assert moved == (make not in UNIT.values())


@pytest.mark.parametrize("name", [name for name in PAIR if name != "circle"])  # Circle's weights are constants
def test_gradcheck(name):
    x, y = batch(4, B=7, C=3)
    assert torch.autograd.gradcheck(lambda x: PAIR[name]()(x, y), (x.requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize("make", ANCHORED.values(), ids=ANCHORED)
def test_reductions_and_anchors_without_a_term(make):
    """Class 3 has one sample: as an anchor it has no positive, its value is 0 and it is not counted."""
    x, _ = batch(B=9)
    y = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 3])
    each, total, mean = (make(reduction=r)(x, y) for r in ("none", "sum", "mean"))
    assert each.shape == (9,)
    assert each[8] == 0
    counted = make(reduction="none")
    terms = counted.per_sample(x, y)[1]
    torch.testing.assert_close((each * terms).sum(), total)
    torch.testing.assert_close(total / terms.sum(), mean)
    assert terms[8] == 0


#: labels of a batch, and which losses have anything to say about it
PARTIAL = {
    "no pair": ([0], ()),
    "negatives only": ([0, 1, 2, 3, 4], ("Contrastive",)),
    "positives only": ([5, 5, 5, 5], ("Contrastive", "SupCon")),
}


@pairs
@pytest.mark.parametrize("case", PARTIAL)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_empty_sets_give_zero_attached_to_the_graph(make, case, reduction):
    labels, speaking = PARTIAL[case]
    x = 1 + 0.1 * batch(B=len(labels))[0]
    loss = make(reduction=reduction)
    got = value_and_gradients(loss, x, torch.tensor(labels))
    if type(loss).__name__ in speaking:
        assert got["loss"] > 0
        assert got["grad_embeddings"].abs().sum() > 0
    else:
        assert got["loss"] == 0
        assert torch.equal(got["grad_embeddings"], torch.zeros_like(x))


@pairs
@pytest.mark.parametrize("cast", [None, torch.bfloat16, torch.float16], ids=["float32", "bf16", "fp16"])
def test_finite_on_hostile_embeddings(make, cast):
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    x, y = hostile(weight)
    y = y % 4
    got = value_and_gradients(make(), x, y, cast)
    assert all(v.isfinite().all() for v in got.values())
    assert got["loss"].dtype == torch.float32
    for same in (weight[:1].expand(6, 32), 0 * weight[:6]):  # the whole batch in one point
        got = value_and_gradients(make(), same, torch.arange(6) % 2, cast)
        assert all(v.isfinite().all() for v in got.values())


@pairs
def test_half_precision_embeddings_are_computed_in_float32(make):
    x, y = batch(C=3, dtype=torch.float32)
    half = x.to(torch.float16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = make()(half, y)
    assert got.dtype == torch.float32
    assert torch.equal(got, make()(half.float(), y))
    ones = torch.ones(256, 512, dtype=torch.float16)  # their sum is beyond float16
    assert make()(ones, torch.arange(256) % 6).isfinite()


@pairs
def test_float32_stays_close_to_float64(make):
    for seed in range(5):
        x, y = batch(seed, B=40, d=32, C=8, dtype=torch.float32)
        got, want = value_and_gradients(make(), x, y), value_and_gradients(make(), x.double(), y)
        torch.testing.assert_close(got["loss"].double(), want["loss"], rtol=2e-5, atol=1e-6)
        scale = float(want["grad_embeddings"].abs().max())
        torch.testing.assert_close(got["grad_embeddings"].double(), want["grad_embeddings"], rtol=0, atol=2e-3 * scale)


def near(seed, spread, classes):
    """24 samples of 6 classes, all in one point but for `spread`; or each class in a point of its own."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(24) % 6
    centre = torch.nn.functional.normalize(torch.randn(6, 64, generator=g))[y if classes else 0 * y]
    return centre + spread * torch.randn(24, 64, generator=g) / 8, y


@pytest.mark.parametrize("spread", [0.1, 1e-2, 1e-3])
@pytest.mark.parametrize("name", PAIR)
def test_accuracy_near_collapse(name, spread):
    """All embeddings in nearly one point: mining and slopes follow the small differences, not their rounding."""
    for seed in range(5):
        x, y = near(seed, spread, classes=False)
        got, want = value_and_gradients(PAIR[name](), x, y), value_and_gradients(PAIR[name](), x.double(), y)
        torch.testing.assert_close(got["loss"].double(), want["loss"], rtol=2e-6, atol=0)
        error = (got["grad_embeddings"].double() - want["grad_embeddings"]).norm() / want["grad_embeddings"].norm()
        assert error < (1e-4 if name == "circle" else 1e-6) + 2e-7 / spread, seed


@pytest.mark.parametrize("spread", [0.1, 1e-2, 1e-3])
@pytest.mark.parametrize("name", [name for name in PAIR if name not in ("triplet-semi-hard-soft", "supcon")])
def test_accuracy_where_each_class_has_collapsed(name, spread):
    """As training leaves them: the distances within a class are a millionth of those between classes."""
    for seed in range(5):
        x, y = near(seed, spread, classes=True)
        got, want = value_and_gradients(PAIR[name](), x, y), value_and_gradients(PAIR[name](), x.double(), y)
        torch.testing.assert_close(got["loss"].double(), want["loss"], rtol=2e-5, atol=0)


@pytest.mark.parametrize("temperature", [0.05, 0.1])
def test_small_losses_of_supcon_keep_their_accuracy(temperature):
    """One positive for every anchor, far above the rest: log Σ - own, a small difference, was all wrong at 4e-7."""
    for noise in (0.1, 0.3, 0.6):
        torch.manual_seed(0)
        c = torch.nn.functional.normalize(torch.randn(20, 128))
        x, y = torch.cat([c, c + noise * torch.randn(20, 128) / 128**0.5]), torch.arange(40) % 20
        loss = SupCon(temperature=temperature)
        assert loss(x, y).item() == pytest.approx(loss(x.double(), y).item(), rel=2e-6)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"embeddings": torch.randn(4)}, r"embeddings.shape=\(4,\)"),
        ({"embeddings": torch.randn(0, 8), "labels": torch.zeros(0, dtype=torch.int64)}, "B >= 1"),
        ({"embeddings": torch.ones(4, 8, dtype=torch.int64)}, r"embeddings.dtype=torch.int64"),
        ({"embeddings": torch.full((4, 8), torch.nan)}, r"embeddings\[0\]=nan: expected finite"),
        ({"labels": torch.tensor([0.0, 1.0, 2.0, 3.0])}, r"labels.dtype=torch.float32: expected torch.int64"),
        ({"labels": torch.tensor([0, 1, 2])}, r"labels.shape=\(3,\): expected \(4,\)"),
        ({"labels": [0, 1, 2, 3]}, r"labels=\[0, 1, 2, 3\]: expected a tensor, not a list"),
    ],
)
@pairs
def test_bad_batches_are_refused_by_name(make, change, named):
    good = {"embeddings": torch.randn(4, 8), "labels": torch.tensor([0, 1, 2, 3])}
    with pytest.raises(ValueError, match=named):
        make()(**(good | change))
