"""The frame that all angular losses fill in: a target logit against everything else.

Every loss here works on the angles θ_j between an embedding x and the class weights W_j, and has one shape:

    cos_j = x̂ · Ŵ_j,    x̂ = x / ‖x‖,  Ŵ_j = W_j / ‖W_j‖
    rest  = log Σ_{j≠y} exp( s · others(cos_j, cos_y) )
    loss  = -log σ( s · target(cos_y) - rest )                  (= cross-entropy of the margin logits)

A paper changes `target` (CosFace, ArcFace), sometimes `others` (some wrong classes push harder); or the margin depends
on the sample (`rows`) or on sums over its wrong classes (`row_sums`), or on what was seen so far (`observe`). A
subclass of `MarginHead` writes only that.

`per_sample` puts the pieces together. In the dense form all of it is in this file; `tiles.py` computes the same for
many classes, `parallel.py` for several processes, `sampling.py` with some of the classes in each step.

An angle is only ever formed on the `(B,)` target cosines: an arccos or a root over the whole `(B, C)` matrix has an
infinite slope wherever ANY cosine reaches ±1, and 0 · ∞ = NaN then poisons a class that needed no angle.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.parallel import DistributedDataParallel

from facelearn.losses import tiles
from facelearn.losses.base import AT_LEAST_ONE, POSITIVE, Classifier, Rule, Scored
from facelearn.losses.derivatives import transformed
from facelearn.losses.parallel import GatherSamples, everywhere, gather_columns, shard
from facelearn.losses.sampling import sample_classes

#: What to do with the target where θ + m > π; see `cos_of_sum`.
BEYOND_PI = ("mm", "plain", "clip", "linear")


class Frame(Scored, total=False):
    """The keywords that every head hands on to `MarginHead`."""

    tile: str | int | None
    process_group: ProcessGroup | None
    sample_rate: float


class MarginHead(Classifier):
    """Class weights on a hypersphere. Without a margin this is `NormFace`; a subclass changes the target or the others.

    Args:
        embedding_dim, num_classes: d and C; `weight` is `(C, d)`, a row per class, normalised in every call.
        num_subcenters: K rows per class, row j·K + k; a class scores by the nearest of its rows.
        scale: s, what the cosines are multiplied by.
        tile: how many classes to work on at a time: "auto" holds the whole (B, C) matrix while it is small, `None`
            always, a number never; the same value and gradient each way.
        process_group: share the classes out among its ranks (see `parallel.py`): `weight` then holds this rank's rows,
            the loss is the mean over the batches of all, which must be equally long. Not for DistributedDataParallel.
        sample_rate: share of the classes that a training call meets, those of its batch and random others; below 1 the
            gradient of `weight` is sparse: the optimiser needs `touched_rows_only`, clipping goes as `sampling.py`
            says, and DistributedDataParallel refuses it (a `process_group` does not). `eval()` and `logits` use all
            classes.
        label_smoothing, ignore_label: see `Classifier` and `ClassLoss`; no smoothing with a `sample_rate` below 1.
        reduction, validate, device, dtype: see `Loss`.

    A zero embedding has no direction: its cosines are all 0, its gradient that of an embedding of norm 1.
    """

    #: True: `compare` also returns, last, the hardest wrong class and its logit. `CircleFace` corrects `rest` by them.
    keeps_hardest: ClassVar[bool] = False
    rules: ClassVar = {
        "scale": POSITIVE,
        "num_subcenters": AT_LEAST_ONE,
        "tile": Rule(
            lambda v: v is None or v == "auto" or (isinstance(v, int) and v >= 1),
            "'auto', None, or a number of classes >= 1",
        ),
        "sample_rate": Rule(lambda v: 0 < v <= 1, "0 < sample_rate <= 1"),
    }

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        num_subcenters: int = 1,
        tile: str | int | None = "auto",
        process_group: ProcessGroup | None = None,
        sample_rate: float = 1.0,
        **scored: Unpack[Scored],
    ) -> None:
        super().__init__(embedding_dim, num_classes, **scored)
        self.process_group = process_group
        self.scale = scale
        self.num_subcenters = num_subcenters
        self.tile = tile
        self.sample_rate = sample_rate
        self.first_class, end = shard(num_classes, process_group)
        self.weight = nn.Parameter(torch.empty((end - self.first_class) * num_subcenters, embedding_dim, **self._made))
        self.reset_parameters()

    def check_setting(self, name: str, value: Any) -> None:
        super().check_setting(name, value)
        both = {"label_smoothing": self.label_smoothing, "sample_rate": vars(self).get("sample_rate", 1), name: value}
        if both["label_smoothing"] and both["sample_rate"] < 1:
            raise ValueError(f"label_smoothing={both['label_smoothing']}: expected 0 with a sample_rate below 1")

    def reset_parameters(self) -> None:
        """Directions uniform on the sphere, norms close to 1. Ranks that share a seed still draw different weights."""
        generator = None
        if self.process_group is not None:
            seed = int(torch.randint(2**62, ())) + self.process_group.rank()
            generator = torch.Generator(self.weight.device).manual_seed(seed)
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5, generator=generator)

    # --- what a paper changes -----------------------------------------------------------------------------------

    def observe(self, embeddings: Tensor, target_cos: Tensor) -> None:
        """Update running state (t, μ, σ, a count of calls) from this batch. Called before `rows`, in training only."""

    def rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        """What `target` and `others` need to know of each sample: a tuple of (B,). Inside `others` they are (B, 1)."""
        return ()

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        """The target logit over s, from the target cosine.  (B,) -> (B,)"""
        return cos

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        """The other logits over s, elementwise.  (B, n), (B, 1) -> (B, n)"""
        return cos

    def row_sums(self, cos: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        """Terms (B, n) to be summed over j ≠ y; `target` gets the sums, (B,) each, after its own `rows`."""
        return ()

    # --- what stays -----------------------------------------------------------------------------------------------

    def logits_and_terms(
        self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The other logits, and what is to be summed over j ≠ y: `row_sums`, then, to smooth labels, those logits.

        (B, n), (B, 1) -> (B, n) each
        """
        logits = self.scale * self.others(cos, target_cos, rows)
        return logits, (*self.row_sums(cos, target_cos), *([logits] if self.label_smoothing else []))

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        x, precise = unit(embeddings), unit(most_precise(embeddings.detach()))  # (B, d)
        weight, own = self.classes(labels)  # (n·K, d), (B,)
        exact = self.target_cosine_in_float64(precise, weight, own)  # (B,)
        rows = self.observed_rows(embeddings, exact)
        target_cos, rest, *sums = self.compare(x, precise, weight, own, rows)  # (B,) each
        others = sums.pop() if self.label_smoothing else None
        target = self.scale * self.target(with_value(target_cos, exact), (*rows, *sums))  # (B,)
        losses = cross_entropy(target, rest)
        return (losses if others is None else self.smoothed(losses, target, others)).to(embeddings.dtype)

    def classes(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The weights of the n classes to compare with, and each sample's class as a number from 0 to n - 1.

        All classes of this rank, or with `sample_rate` some of them. The number lies outside 0 ... n - 1 where the
        class belongs to another rank.  (n·K, d), (B,)
        """
        own = labels - self.first_class
        return (self.weight, own) if self.sample_rate == 1 or not self.training else self.sampled(own)

    @torch.no_grad()
    def target_cosine_in_float64(self, precise: Tensor, weight: Tensor, own: Tensor) -> Tensor:
        """cos θ_y without the rounding of float32, which changes an angle near 0 by up to 3e-4.  (B,)"""
        return self.own_class(precise, weight, own)[1].detach()  # without forward-mode derivatives, too

    def observed_rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        """First `observe`, if training; then `rows`."""
        target_cos = target_cos.to(embeddings.dtype)
        if self.training:
            self.observe(embeddings, target_cos)
        return self.rows(embeddings, target_cos)

    def compare(
        self, x: Tensor, precise: Tensor, weight: Tensor, own: Tensor, rows: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """cos θ_y, `rest` and the sums of `logits_and_terms`, (B,) each; from the whole (B, C) matrix, or tile by tile.

        Args:
            x, precise: unit embeddings, and the same in float64 for who has to correct something.
            weight, own: see `classes`.
        """
        n = len(weight) // self.num_subcenters
        size = tiles.tile_size(self.tile, len(own), n)
        if self.process_group is not None:
            size = size or n  # one tile: `dense` needs the classes of all ranks
        if size is None or transformed(x, weight, *rows):
            return dense(self, x, weight, own, rows)
        return tiles.tiled(self, x, weight, own, rows, size)

    def sampled(self, own: Tensor) -> tuple[Tensor, Tensor]:
        """`classes` in a training call with `sample_rate` < 1. The gradient of `weight` is then sparse."""
        if self.process_group is None and getattr(DistributedDataParallel, "_active_ddp_module", None) is not None:
            expected = "expected 1 in DistributedDataParallel, which takes no sparse gradient (or a process_group)"
            raise ValueError(f"sample_rate={self.sample_rate}: {expected}")
        chosen = self.draw_classes(own)  # (n,), sorted
        K = self.num_subcenters
        centers = chosen if K == 1 else (K * chosen[:, None] + torch.arange(K, device=chosen.device)).flatten()
        place = torch.searchsorted(chosen, own).clamp(max=len(chosen) - 1)
        own = torch.where(chosen[place] == own, place, -1)
        return F.embedding(centers, self.weight, sparse=not transformed(self.weight)), own

    def leaves(self) -> list[Tensor]:
        """With `sample_rate` < 1 none of the rows: a gradient of 0 to all of them would let the optimiser move them."""
        if self.sample_rate == 1 or not self.training:
            return super().leaves()
        none = torch.empty(0, dtype=torch.int64, device=self.weight.device)
        met = F.embedding(none, self.weight, sparse=not transformed(self.weight))
        return [met if leaf is self.weight else leaf for leaf in self.parameters()]

    def draw_classes(self, own: Tensor) -> Tensor:
        """The classes of this rank to compare with in a training call: all those in `own`, and others.  (n,), sorted"""
        return sample_classes(own, len(self.weight) // self.num_subcenters, self.sample_rate)

    def own_class(self, x: Tensor, weight: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Per sample: the row of `weight` for its class (the nearest sub-centre), their cosine, and whether this rank
        has the class (1 or 0). All ranks get the cosine; the row means something only where the class is.

        (B, d), (n·K, d), (B,) -> (B,), (B,), (B,)
        """
        n = len(weight) // self.num_subcenters
        here = ((own >= 0) & (own < n)).to(x.dtype)
        center, cos = self.nearest_center(x, weight, own.clamp(0, n - 1))
        return center, everywhere(cos * here, self.process_group), here

    def nearest_center(self, x: Tensor, weight: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Per sample and a class `(B,)` for it: which row of `weight`, among the class's K, is nearest, and its cosine.

        (B, d), (n·K, d), (B,) -> (B,), (B,)
        """
        K = self.num_subcenters
        centers = classes[:, None] * K + torch.arange(K, device=classes.device)  # (B, K)
        W = weight[centers].to(x.dtype)  # (B, K, d)
        best = ((W * x[:, None]).sum(2) * inverse_length(W)).max(1)  # over K
        return centers.gather(1, best.indices[:, None])[:, 0], best.values.clamp(-1, 1)

    def scores(self, embeddings: Tensor) -> Tensor:
        """s · cos θ_j, no margin.  (B, C)"""
        if self.process_group is None:
            return self.scale * self.cosines(unit(embeddings), self.weight)
        every = self.cosines(unit(GatherSamples.apply(embeddings, self.process_group)), self.weight)  # (W·B, n)
        every = gather_columns(every, self.num_classes, self.process_group)  # (W·B, C)
        return self.scale * every.chunk(self.process_group.size())[self.process_group.rank()]

    def cosines(self, x: Tensor, weight: Tensor) -> Tensor:
        """Cosines of unit embeddings with every class.  (B, d), (n·K, d) -> (B, n)"""
        return self.pool(x @ unit(weight).T)

    def pool(self, cos: Tensor) -> Tensor:
        """Of each class's K cosines the largest, that of the nearest sub-centre.  (B, n·K) -> (B, n)"""
        return cos if self.num_subcenters == 1 else cos.unflatten(1, (-1, self.num_subcenters)).max(2).values


def dense(head: MarginHead, x: Tensor, weight: Tensor, labels: Tensor, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What `MarginHead.compare` returns, by the formula at the top of this file, from the whole (B, C) matrix."""
    cos = head.cosines(x, weight)  # (B, C)
    own = labels[:, None]
    target_cos = cos.gather(1, own)  # (B, 1)
    target_cos = with_value(target_cos, target_cos.clamp(-1, 1))  # a rounding beyond 1 must not cost the gradient
    logits, terms = head.logits_and_terms(cos, target_cos, tuple(row[:, None] for row in rows))  # (B, C) each
    sums = (term.scatter(1, own, 0.0).sum(1) for term in terms)
    kept = logits.detach().scatter(1, own, -torch.inf).max(1)[::-1] if head.keeps_hardest else ()
    return target_cos[:, 0], rest(logits, labels), *sums, *kept


def rest(logits: Tensor, labels: Tensor) -> Tensor:
    """log Σ_{j≠y} exp(logit_j): what the target logit has to beat.  (B, C), (B,) -> (B,)"""
    return logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)


def cross_entropy(target: Tensor, rest: Tensor) -> Tensor:
    """Cross-entropy from the target logit and the log-sum-exp of all the others.  (B,), (B,) -> (B,)

    -log( e^t / (e^t + e^r) ) = -log σ(t - r). The same number as `F.cross_entropy`, but where the loss is nearly zero
    that subtracts two almost equal numbers (percents off in float32 at a loss of 1e-5), and this does not.
    """
    return -F.logsigmoid(target - rest)


def with_value(graded: Tensor, value: Tensor) -> Tensor:
    """A number that equals `value` and has the gradient of `graded`.  (B,), (B,) -> (B,)"""
    return graded + (value - graded).detach()


def unit(vectors: Tensor) -> Tensor:
    """Rows divided by their length; a zero row stays zero, with the finite gradient of a row of length 1."""
    length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / torch.where(length > 0, length, 1.0)


def inverse_length(vectors: Tensor) -> Tensor:
    """1 / ‖v‖ over the last dimension; 1 for a zero vector, as in `unit`."""
    length = torch.linalg.vector_norm(vectors, dim=-1)
    return torch.where(length > 0, length, 1.0).reciprocal_()


def most_precise(x: Tensor) -> Tensor:
    """`x` in float64; unchanged on Apple's MPS, which has none."""
    return x if x.device.type == "mps" else x.double()


def sine(cos: Tensor) -> Tensor:
    """sin θ ≥ 0 from cos θ in [-1, 1]. At ±1 the slope is infinite; there the value is exact and the gradient 0."""
    square = (1 - cos) * (1 + cos)
    inside = square > 0
    return torch.where(inside, torch.where(inside, square, 1.0).sqrt(), 0.0)


def cos_of_sum(cos: Tensor, margin: float | Tensor, beyond_pi: str = "mm") -> Tensor:
    """cos(θ + m) from cos θ by the addition theorem, with a rule for θ + m > π.  (B,) -> (B,)

    Where θ > π - m, cos(θ + m) turns up again and would reward the worst samples. `beyond_pi` says what stands there:

        "mm"      cos θ - m sin m        falls on, after a jump down at the join
        "plain"   cos(θ + m)             nothing done
        "clip"    -1                     continuous, but without any gradient
        "linear"  cos θ - (1 - cos m)    continuous and falling

    Args:
        margin: m in radians, a number or one per sample `(B,)`.
    """
    cos_m: float | Tensor
    sin_m: float | Tensor
    if isinstance(margin, Tensor):
        cos_m, sin_m = margin.cos(), margin.sin()
    else:
        cos_m, sin_m = math.cos(margin), math.sin(margin)
    plain = cos * cos_m - sine(cos) * sin_m
    if beyond_pi == "plain":
        return plain
    if beyond_pi == "mm":
        beyond = cos - margin * sin_m
    elif beyond_pi == "linear":
        beyond = cos - (1 - cos_m)
    elif beyond_pi == "clip":
        beyond = torch.full_like(cos, -1.0)
    else:
        raise ValueError(f"beyond_pi={beyond_pi!r}: expected one of {BEYOND_PI}")
    return torch.where(cos > -cos_m, plain, beyond)
