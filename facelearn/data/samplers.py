"""Batches that are not merely shuffled: P identities x K images, for losses that compare the members of a batch with
each other, and batches in which large classes weigh less."""

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

    Real sets have classes of very different sizes:

    * `small`: what to do with classes of fewer than K images. "error" refuses them; "drop" leaves them out;
      "repeat" fills their one group up by repeating its images, and leaves out only classes of a single image. Those
      are no use to a loss of pairs: all its positives would be copies of one photograph.
    * `cap`: a class takes part with at most so many images per epoch, drawn anew in each (at least K).

    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
    arXiv:1703.07737, section 2.
    """

    identities_per_batch: int
    images_per_identity: int
    small: str = "error"
    cap: int | None = None

    def __post_init__(self) -> None:
        for name in ("identities_per_batch", "images_per_identity"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: {value!r}; expected an integer of at least 1")
        if self.small not in ("error", "drop", "repeat"):
            raise ValueError(f"small: {self.small!r}; expected 'error', 'drop' or 'repeat'")
        if self.cap is not None and (not isinstance(self.cap, int) or self.cap < self.images_per_identity):
            least = f"images_per_identity={self.images_per_identity}"
            raise ValueError(f"cap: {self.cap!r}; expected None or an integer of at least {least}")

    def __call__(self, labels: Tensor, epoch: int, generator: torch.Generator) -> list[Tensor]:
        """Index tensors `(P·K,)` of one epoch; the K images of a class stand together.

        `labels (N,)` int64 (any integers), `generator` on the CPU; `epoch` is not needed, the generator differs anyway.
        ValueError when fewer than P classes can take part, or, with small="error", a class has fewer than K images.
        """
        groups, remaining = self._groups(_checked(labels), generator)
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
        """For each class that takes part a tensor `(groups, K)` of image numbers in random order, and how many groups
        each has `(classes,)`."""
        classes, sizes = labels.unique(return_counts=True)
        p, k = self.identities_per_batch, self.images_per_identity
        small = sizes < k
        if self.small == "error" and small.any():
            raise ValueError(
                f"images_per_identity: {k}; but class {int(classes[small][0])} has only {int(sizes[small][0])} images"
                f" ({int(small.sum())} of {len(classes)} classes are too small)"
            )
        least = min(k, 2) if self.small == "repeat" else k
        if int((sizes >= least).sum()) < p:
            count = int((sizes >= least).sum())
            which = "" if count == len(classes) else f" with at least {least} images (of {len(classes)})"
            raise ValueError(f"identities_per_batch: {p}; but labels hold only {count} classes{which}")
        shuffled = torch.randperm(len(labels), generator=generator)
        by_class = shuffled[labels[shuffled].argsort(stable=True)]  # sorted by class, random inside a class
        groups = [self._deal(members) for members in by_class.split(sizes.tolist()) if len(members) >= least]
        return groups, torch.tensor([len(group) for group in groups])

    def _deal(self, members: Tensor) -> Tensor:
        """A class's images (n,), in random order, as groups (n // K, K), or (1, K) with repeats where n < K."""
        k = self.images_per_identity
        if len(members) < k:
            return members.repeat(-(-k // len(members)))[:k][None]
        members = members[: self.cap]
        return members[: len(members) // k * k].view(-1, k)


@dataclass(frozen=True)
class BalancedBatches:
    """Batches of `batch_size` images in which large classes weigh less: an image of a class of n counts 1 / n^power.

    power 0: every image as often as any other, as in shuffled batches; 1: every class as often as any other; 1/2 lies
    between. An epoch has as many batches as a shuffled one, floor(N / batch_size), so images of large classes sit some
    epochs out and those of small ones come several times. How often an image comes is its expected number, rounded up
    or down by chance (systematic sampling), so that epochs differ no more than they must. Goes to `fit(..., batches=)`.

    Source: power 1/2 is the square-root sampling of Mahajan et al., "Exploring the Limits of Weakly Supervised
    Pretraining", ECCV 2018, arXiv:1805.00932, after Mikolov et al. 2013.
    """

    batch_size: int
    power: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"batch_size: {self.batch_size!r}; expected an integer of at least 1")
        if not 0 <= self.power <= 1:
            raise ValueError(f"power: {self.power!r}; expected 0 to 1")

    def __call__(self, labels: Tensor, epoch: int, generator: torch.Generator) -> list[Tensor]:
        """Index tensors `(batch_size,)` of one epoch. `labels (N,)` int64, `generator` on the CPU.

        ValueError when there are fewer images than `batch_size`.
        """
        labels = _checked(labels)
        total = len(labels) // self.batch_size * self.batch_size
        if total == 0:
            raise ValueError(f"batch_size: {self.batch_size}; but there are only {len(labels)} images")
        _, class_of, sizes = labels.unique(return_inverse=True, return_counts=True)
        weights = sizes.double().pow(-self.power)[class_of]  # (N,)
        order = torch.randperm(len(labels), generator=generator)
        # Lay the images along a line of length `total`, each as long as its expected number, and cut it at whole
        # numbers from a random start: an image comes as often as it is cut.
        ends = (weights[order] * (total / weights.sum())).cumsum(0)
        ends += torch.rand((), generator=generator, dtype=torch.float64) - ends[-1] + total
        cuts = ends.floor().long().clamp(max=total)
        cuts[-1] = total  # whatever rounding did
        drawn = order.repeat_interleave(cuts.diff(prepend=cuts.new_zeros(1)))  # (total,)
        return list(drawn[torch.randperm(total, generator=generator)].split(self.batch_size))


def _checked(labels: Tensor) -> Tensor:
    labels = labels.cpu()
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(f"labels: {labels.dtype} of shape {tuple(labels.shape)}; expected integers of shape (N,)")
    return labels
