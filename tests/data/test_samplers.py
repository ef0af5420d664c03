"""P x K batches: what must hold for every batch, and what cannot be sampled."""

import pytest
import torch
from torch import Tensor

from facelearn.data.samplers import PKBatches


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
