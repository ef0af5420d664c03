"""P x K and balanced batches: what must hold for every batch, and what cannot be sampled."""

import pytest
import torch
from torch import Tensor

from facelearn.data.samplers import BalancedBatches, PKBatches


def sample(sizes: list[int], p: int, k: int, seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    return labels, PKBatches(p, k)(labels, 1, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("sizes", "p", "k"), [([20] * 30, 8, 4), ([4, 5, 9, 30, 6, 7], 3, 4), ([2] * 5, 5, 2), ([7] * 4, 1, 3)]
)
def test_every_batch_is_p_by_k(sizes: list[int], p: int, k: int) -> None:
    labels, batches = sample(sizes, p, k)
    assert batches
    for batch in batches:
        rows = labels[batch].view(p, k)
        assert (rows == rows[:, :1]).all()  # a row is one identity
        assert len(rows[:, 0].unique()) == p  # rows are different identities
    seen = torch.cat(batches)
    assert len(seen.unique()) == len(seen)  # no image twice


@pytest.mark.parametrize(
    ("sizes", "p", "k", "count"),
    [
        ([20] * 32, 32, 4, 5),  # 5 groups of each, all used
        ([20] * 300, 32, 4, 46),  # 1500 groups in 46 batches of 32, 28 groups left
        ([40, 4, 4, 4], 2, 4, 3),  # a large class needs a partner each time: three partners
        ([8, 8, 8], 2, 4, 3),  # 6 groups in pairs: possible only when the fullest classes go first
    ],
)
def test_number_of_batches(sizes: list[int], p: int, k: int, count: int) -> None:
    assert [len(sample(sizes, p, k, seed)[1]) for seed in range(5)] == [count] * 5


def test_the_generator_decides() -> None:
    same, again, other = (torch.stack(sample([8] * 9, 3, 4, seed)[1]) for seed in (5, 5, 6))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_large_classes_are_spread_over_the_epoch() -> None:
    labels, batches = sample([80] * 4 + [8] * 36, 4, 4, seed=3)
    large = torch.tensor([(labels[b] < 4).float().mean() for b in batches])
    half = len(batches) // 2
    assert (large[:half].mean() - large[half:].mean()).abs() < 0.4  # served greedily, unshuffled: .8


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (torch.tensor([0, 0, 1, 1]), "identities_per_batch: 3; but labels hold only 2 classes"),
        (torch.tensor([0, 0, 1, 1, 7]), r"images_per_identity: 2; but class 7 has only 1 images \(1 of 3"),
        (torch.rand(4), "labels: torch.float32"),
        (torch.zeros(2, 2, dtype=torch.long), "labels: torch.int64 of shape"),
    ],
)
def test_labels_that_cannot_be_sampled(labels: Tensor, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        PKBatches(3, 2)(labels, 1, torch.Generator())


@pytest.mark.parametrize(("p", "k", "name"), [(0, 2, "identities_per_batch"), (2, -1, "images_per_identity")])
def test_sizes_below_one(p: int, k: int, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PKBatches(p, k)


SMALL = [1, 1, 1, 2, 3, 4, 5, 30]


@pytest.mark.parametrize(
    ("small", "least", "count"),
    [
        ("drop", 4, 2),  # of 4, 5, 30: one group, one, seven: two batches of two, and then 30 stands alone
        ("repeat", 2, 4),  # of 2, 3, 4, 5, 30
    ],
)
def test_small_classes_are_dropped_or_filled_up(small: str, least: int, count: int) -> None:
    labels = torch.arange(len(SMALL)).repeat_interleave(torch.tensor(SMALL))
    taking_part = {c for c, n in enumerate(SMALL) if n >= least}
    sampler, seen = PKBatches(2, 4, small=small), set()
    for seed in range(20):
        batches = sampler(labels, 1, torch.Generator().manual_seed(seed))
        assert len(batches) == count
        for batch in batches:
            rows = batch.view(2, 4)
            for row in rows:
                n = SMALL[int(labels[row[0]])]
                assert (labels[row] == labels[row[0]]).all()
                assert len(row.unique()) == min(n, 4)
                assert row.unique(return_counts=True)[1].max() <= -(-4 // min(n, 4))  # repeated evenly
            assert labels[rows[0, 0]] != labels[rows[1, 0]]
            seen |= set(labels[rows[:, 0]].tolist())
    assert seen == taking_part


def test_cap_holds_large_classes_back_and_still_shows_all_their_images() -> None:
    labels = torch.arange(20).repeat_interleave(torch.tensor([100] + [8] * 19))
    sampler = PKBatches(2, 4, cap=8)
    shares, seen = [], set()
    for seed in range(60):
        drawn = torch.cat(sampler(labels, 1, torch.Generator().manual_seed(seed)))
        assert len(drawn) == 20 * 8
        shares.append(int((labels[drawn] == 0).sum()))
        seen |= set(drawn[labels[drawn] == 0].tolist())
    assert set(shares) == {8}
    assert len(seen) > 95


def balanced(sizes: list[int], batch_size: int, power: float, epochs: int) -> tuple[Tensor, Tensor]:
    """Labels, and how often each image came in all epochs."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    sampler = BalancedBatches(batch_size, power)
    counts = torch.zeros(len(labels), dtype=torch.long)
    for epoch in range(epochs):
        batches = sampler(labels, epoch, torch.Generator().manual_seed(epoch))
        assert [len(batch) for batch in batches] == [batch_size] * (len(labels) // batch_size)
        counts += torch.cat(batches).bincount(minlength=len(labels))
    return labels, counts


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_balanced_batches_draw_each_image_as_often_as_they_say(power: float) -> None:
    sizes, batch_size, epochs = [100, 25, 4, 1], 10, 400
    labels, counts = balanced(sizes, batch_size, power, epochs)
    n = torch.tensor(sizes).double()
    share = n ** (1 - power) / (n ** (1 - power)).sum()  # of each class
    expected = (share / n)[labels] * 130 * epochs
    # rounded up or down each time: a variance of at most 1/4 an epoch, five standard deviations
    assert (counts - expected).abs().max() <= 5 * (epochs / 4) ** 0.5


def test_balanced_batches_with_power_0_are_shuffled_batches() -> None:
    labels, counts = balanced([60, 30, 8], 9, 0.0, 1)
    assert counts.max() == 1
    assert counts.sum() == 90  # 98 images, 10 batches of 9
    order = torch.cat(BalancedBatches(9, 0.0)(labels, 1, torch.Generator().manual_seed(0)))
    assert not torch.equal(order, order.sort().values)


def test_balanced_batches_round_by_chance_only() -> None:
    """An image whose expected number is 2.5 comes 2 or 3 times, never otherwise."""
    labels = torch.tensor([0] * 9 + [1])
    for seed in range(50):
        drawn = torch.cat(BalancedBatches(5, 1.0)(labels, 1, torch.Generator().manual_seed(seed)))
        counts = drawn.bincount(minlength=10)
        assert counts[9] == 5
        assert set(counts[:9].tolist()) <= {0, 1}


def test_balanced_batches_of_any_labels_and_by_the_generator() -> None:
    labels = torch.tensor([7, 7, 7, -3, 900, 900])
    same, again, other = (
        torch.cat(BalancedBatches(2)(labels, 1, torch.Generator().manual_seed(seed))) for seed in (5, 5, 6)
    )
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_balanced_batches_of_a_million_images() -> None:
    labels = torch.arange(1000).pow(2).repeat_interleave(torch.arange(1, 2001, 2))  # a million images
    batches = BalancedBatches(128)(labels, 1, torch.Generator().manual_seed(0))
    assert len(batches) == 1_000_000 // 128
    assert {len(batch) for batch in batches} == {128}


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PKBatches(2, 4, small="keep"), "small: 'keep'; expected 'error', 'drop' or 'repeat'"),
        (lambda: PKBatches(2, 4, cap=3), "cap: 3; expected None or an integer of at least images_per_identity=4"),
        (lambda: BalancedBatches(0), "batch_size: 0; expected an integer of at least 1"),
        (lambda: BalancedBatches(2.0), r"batch_size: 2.0; expected an integer"),
        (lambda: BalancedBatches(2, 1.5), "power: 1.5; expected 0 to 1"),
        (lambda: BalancedBatches(2, float("nan")), "power: nan; expected 0 to 1"),
        (
            lambda: BalancedBatches(9)(torch.zeros(4).long(), 1, torch.Generator()),
            "batch_size: 9; but there are only 4",
        ),
        (lambda: BalancedBatches(2)(torch.zeros(4), 1, torch.Generator()), "labels: torch.float32 of shape"),
        (
            lambda: PKBatches(3, 4, small="drop")(torch.tensor([0] * 4 + [1] * 3 + [2] * 5), 1, torch.Generator()),
            r"identities_per_batch: 3; but labels hold only 2 classes with at least 4 images \(of 3\)",
        ),
    ],
)
def test_settings_that_cannot_work(make, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()
