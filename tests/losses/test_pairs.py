"""What all the losses on pairs and triplets promise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facelearn.losses import SupCon, Triplet
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


# --- with the images of earlier batches ------------------------------------------------------------------------------


def memory(dtype=torch.float64):
    """A batch of 12 and 20 earlier images, some of the same people."""
    x, y = batch(seed=3, B=32, dtype=dtype)
    return x[:12], y[:12], x[12:], y[12:]


@pytest.mark.parametrize("name", PAIR)
def test_a_reference_makes_each_anchor_see_the_larger_batch(name):
    """Values and gradients of a batch of 32 in which the last 20 do not move, for the first 12 anchors."""
    x, y, earlier, theirs = memory()
    loss = PAIR[name](reduction="none")
    x.requires_grad_()
    found, whole = loss(x, y, reference=(earlier, theirs)), loss(torch.cat([x, earlier]), torch.cat([y, theirs]))
    i = torch.triu_indices(32, 32, 1)[0] if name.startswith("contrastive") else torch.arange(32)
    whole = whole[i < 12]
    assert found.shape == whole.shape
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)
    weights = torch.rand(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (mine,), (theirs,) = (torch.autograd.grad(weights @ value, x) for value in (found, whole))
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10 * theirs.abs().max().item())
    assert mine.abs().max() > 0


@pytest.mark.parametrize("name", PAIR)
def test_the_mean_with_a_reference_is_that_of_the_terms_of_the_batch(name):
    x, y, earlier, theirs = memory()
    everything = torch.cat([x, earlier]), torch.cat([y, theirs])
    mean = PAIR[name]()(x, y, reference=(earlier, theirs))
    each = PAIR[name](reduction="none")(*everything)
    if name.startswith("contrastive"):
        expected = each[torch.triu_indices(32, 32, 1)[0] < 12].mean()
    else:  # from two batches: whose other images are anchors too, and whose are not
        sums, counts = PAIR[name]().per_sample(*everything)
        expected = sums[:12].sum() / counts[:12].sum()
    assert mean.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", PAIR)
def test_no_gradient_reaches_the_reference(name):
    x, y, earlier, theirs = memory()
    earlier.requires_grad_(), x.requires_grad_()
    PAIR[name]()(x, y, reference=(earlier, theirs)).backward()
    assert earlier.grad is None
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize("name", PAIR)
def test_a_reference_of_strangers_far_away_and_without_positives(name):
    """One earlier image, of another person; under compilation's whole matrix the same."""
    x, y, earlier, _ = memory()
    loss = PAIR[name]()
    once = loss(x, y, reference=(earlier[:1], torch.tensor([99])))
    again = torch.func.vmap(lambda part: loss.per_sample(part, torch.cat([y, torch.tensor([99])]), 12)[0].sum())
    parts = torch.cat([x, earlier[:1]])[None]
    assert once.isfinite()
    if "batch-hard" not in name:
        sums, counts = loss.per_sample(parts[0], torch.cat([y, torch.tensor([99])]), 12)
        torch.testing.assert_close(again(parts)[0], sums.sum())
        torch.testing.assert_close(once, sums.sum() / counts.sum())


def test_a_memory_as_the_text_shows_it():
    """The second of two batches has, for its anchors, the loss of both together; also in half precision."""
    loss, generator = SupCon(temperature=0.5), torch.Generator().manual_seed(0)
    (x, y), (z, w) = ((torch.randn(8, 4, generator=generator), torch.arange(8) // 2) for _ in range(2))
    alone = loss(z, w)
    found = loss(z, w, reference=(x, y))
    everything = SupCon(temperature=0.5, reduction="none")(torch.cat([z, x]), torch.cat([w, y]))
    torch.testing.assert_close(found, everything[:8].mean())
    assert not torch.isclose(found, alone)
    half = loss(z.bfloat16(), w, reference=(x.bfloat16(), y))
    torch.testing.assert_close(half, loss(z.bfloat16().float(), w, reference=(x.bfloat16().float(), y)))


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (torch.ones(2, 8), r"reference=Tensor: expected a pair \(embeddings, labels\)"),
        (
            (torch.ones(2, 7).double(), torch.zeros(2).long()),
            r"reference: embeddings.shape=\(2, 7\): expected \(M, 8\)",
        ),
        ((torch.ones(2, 8).double(), torch.zeros(3).long()), r"reference: labels.shape=\(3,\): expected \(2,\)"),
        (
            (torch.ones(2, 8), torch.zeros(2).long()),
            "reference: embeddings.dtype=torch.float32: expected torch.float64",
        ),
        ((torch.full((2, 8), torch.nan).double(), torch.zeros(2).long()), r"reference: embeddings\[0\]=nan: expected"),
    ],
)
def test_what_is_no_reference_is_told(reference, told):
    x, y, *_ = memory()
    with pytest.raises(ValueError, match=told):
        Triplet()(x, y, reference=reference)
