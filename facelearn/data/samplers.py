"""Batches of P identities x K images, for losses that compare the members of a batch with each other."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PKBatches:
    """Batches with `identities_per_batch` (P) classes and `images_per_identity` (K) images of each.

    A shuffled batch of 128 out of 300 people holds hardly a pair of one person; a P x K batch holds P·K(K−1)/2 of them.
    Goes to `fit(..., batches=PKBatches(32, 4))`.

    Each epoch deals every class's images into fresh groups of K, and a batch is one group from each of P different
    classes. No image comes twice in an epoch. Those left over (a remainder below K, or the last groups, once fewer than
    P classes have one) sit this epoch out; the next epoch leaves out others. The number of batches depends on the class
    sizes alone, so it is the same in every epoch.

    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
    arXiv:1703.07737, section 2.
    """

    identities_per_batch: int
    images_per_identity: int

    def __post_init__(self) -> None:
        for name in ("identities_per_batch", "images_per_identity"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: {value!r}; expected an integer of at least 1")

    def __call__(self, labels: Tensor, epoch: int, generator: torch.Generator) -> list[Tensor]:
        """Index tensors `(P·K,)` of one epoch; the K images of a class stand together.

        `labels (N,)` int64 (any integers), `generator` on the CPU; `epoch` is not needed, the generator differs anyway.
        ValueError when there are fewer than P classes, or a class has fewer than K images.
        """
        groups, remaining = self._groups(labels.cpu(), generator)
        batches = []
        while int((remaining > 0).sum()) >= self.identities_per_batch:
            # The classes with most groups left go first (a toss between equals): this wastes the fewest images.
            urgency = remaining + torch.rand(len(remaining), generator=generator)
            chosen = urgency.topk(self.identities_per_batch).indices  # (P,)
            remaining[chosen] -= 1
            batches.append(torch.cat([groups[c][remaining[c]] for c in chosen.tolist()]))  # (P·K,)
        # Large classes were served first; that must not show in the order of the batches.
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _groups(self, labels: Tensor, generator: torch.Generator) -> tuple[list[Tensor], Tensor]:
        """For each class a tensor `(n // K, K)` of image numbers in random order, and the counts n // K `(C,)`."""
        if labels.ndim != 1 or labels.is_floating_point():
            raise ValueError(f"labels: {labels.dtype} of shape {tuple(labels.shape)}; expected integers of shape (N,)")
        classes, sizes = labels.unique(return_counts=True)
        p, k = self.identities_per_batch, self.images_per_identity
        if len(classes) < p:
            raise ValueError(f"identities_per_batch: {p}; but labels hold only {len(classes)} classes")
        if int(sizes.min()) < k:
            small = classes[sizes < k]
            raise ValueError(
                f"images_per_identity: {k}; but class {int(small[0])} has only {int(sizes[sizes < k][0])} images"
                f" ({len(small)} of {len(classes)} classes are too small)"
            )
        shuffled = torch.randperm(len(labels), generator=generator)
        by_class = shuffled[labels[shuffled].argsort(stable=True)]  # sorted by class, random inside a class
        counts = sizes // k
        return [
            members[: k * int(n)].view(-1, k) for members, n in zip(by_class.split(sizes.tolist()), counts, strict=True)
        ], counts
