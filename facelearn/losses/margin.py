"""The frame that all angular losses fill in: a target logit against everything else.

Every loss here works on the angles θ_j between an embedding x and the class weights W_j, and has one shape:

    cos_j = x̂ · Ŵ_j,    x̂ = x / ‖x‖,  Ŵ_j = W_j / ‖W_j‖
    rest  = log Σ_{j≠y} exp( s · others(cos_j, cos_y) )
    loss  = -log σ( s · target(cos_y) - rest )                  (= cross-entropy of the margin logits)

A paper changes `target` (CosFace, ArcFace), sometimes `others` (which wrong classes push harder), sometimes makes the
margin depend on the sample (`rows`) or on sums over its wrong classes (`row_sums`). A subclass of `MarginHead` writes
just that.

An angle is only ever formed on the `(B,)` target cosines: an arccos or a root over the whole `(B, C)` matrix has an
infinite slope wherever ANY cosine reaches ±1, and 0 · ∞ = NaN then poisons a class that needed no angle.
"""

from __future__ import annotations

import math
from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from facelearn.losses.base import Classifier, cross_entropy, rest
from facelearn.losses.parallel import GatherRows, everywhere, gather_columns, shard
from facelearn.losses.sampling import sample_classes
from facelearn.losses.tiles import nearest_row, own_row, tile_size, tiled

#: What to do with the target where θ + m > π; see `cos_of_sum`.
BEYOND_PI = ("mm", "plain", "clip", "linear")


class Frame(TypedDict, total=False):
    """The keywords that every head hands on to `MarginHead`."""

    tile: str | int | None
    process_group: ProcessGroup | None
    sample_rate: float
    reduction: str
    validate: bool | None


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
            gradient of `weight` is sparse, and the optimiser needs `touched_rows_only` (see `sampling.py`). `eval()`
            and `logits` use all classes.
        reduction, validate: see `Loss`.

    A zero embedding has no direction: its cosines are all 0, its gradient that of an embedding of norm 1.
    """

    #: Where the logits rise steeply, float32 is not enough for the cosine of the hardest wrong class; see `mend`.
    exact_hardest = False

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
        reduction: str = "mean",
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            embedding_dim, num_classes, reduction=reduction, validate=validate, process_group=process_group
        )
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale}: expected a positive number")
        if num_subcenters < 1:
            raise ValueError(f"num_subcenters={num_subcenters}: expected at least 1")
        if not (tile is None or tile == "auto" or (isinstance(tile, int) and tile >= 1)):
            raise ValueError(f"tile={tile!r}: expected 'auto', None, or a number of classes >= 1")
        if not 0 < sample_rate <= 1:
            raise ValueError(f"sample_rate={sample_rate}: expected 0 < sample_rate <= 1")
        self.scale = scale
        self.num_subcenters = num_subcenters
        self.tile = tile
        self.sample_rate = sample_rate
        self.first_class, end = shard(num_classes, process_group)
        self.weight = nn.Parameter(torch.empty((end - self.first_class) * num_subcenters, embedding_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Directions uniform on the sphere, norms close to 1; other ones on every rank, also from one seed."""
        generator = None
        if self.process_group is not None:
            seed = int(torch.randint(2**62, ())) + self.process_group.rank()
            generator = torch.Generator(self.weight.device).manual_seed(seed)
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5, generator=generator)

    # --- what a paper changes -----------------------------------------------------------------------------------

    def rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        """Quantities of each sample that `target` and `others` need: a tuple of (B,), or of (B, 1) inside `others`."""
        return ()

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        """The target logit over s, from the target cosine.  (B,) -> (B,)"""
        return cos

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        """The other logits over s, elementwise.  (B, n), (B, 1) -> (B, n)"""
        return cos

    def row_sums(self, cos: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        """Terms `(B, n)` whose sums over j ≠ y, `(B,)` each, `target` finds behind `rows`."""
        return ()

    # --- what stays -----------------------------------------------------------------------------------------------

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        x = unit(embeddings)  # (B, d)
        weight, own = self.classes(labels)  # (n·K, d), (B,)
        precise = unit(most_precise(embeddings.detach()))
        with torch.no_grad():
            exact_cos = own_row(self, precise, weight, own)[1]
        rows = self.rows(embeddings, exact_cos.to(x))
        n = len(weight) // self.num_subcenters
        size = tile_size(self.tile, len(labels), n)
        if size is None and self.process_group is not None:
            size = n  # the dense form needs them all
        parts = dense(self, x, weight, own, rows) if size is None else tiled(self, x, weight, own, rows, size)
        target_cos, rest, hardest, logit, *sums = parts  # (B,) each
        if self.exact_hardest:
            rest = rest + self.mend(rest.detach(), hardest, logit, precise, weight, exact_cos, rows)
        target_cos = target_cos + (exact_cos - target_cos).detach()  # its value in float64, its gradient as it was
        return cross_entropy(self.scale * self.target(target_cos, (*rows, *sums)), rest).to(x.dtype)

    @torch.no_grad()
    def mend(
        self, rest: Tensor, hardest: Tensor, logit: Tensor,
        x: Tensor, weight: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...],
    ) -> Tensor:  # fmt: skip
        """What `rest` gains where the hardest wrong class counts with its cosine in float64.  (B,)

        With process groups every rank mends its own hardest class; the hardest of all is among them.
        """
        cos = nearest_row(self, x, weight, hardest)[1]
        others = self.others(cos[:, None], target_cos[:, None], tuple(row[:, None].to(cos) for row in rows))
        exact = self.scale * others[:, 0]
        gained = torch.where(logit > -torch.inf, (exact - rest).exp() - (logit.to(exact) - rest).exp(), 0.0)
        return everywhere(gained, self.process_group).log1p().to(rest)

    def classes(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The weights `(n·K, d)` of the n classes that this call meets, all of this rank's or a sample of them; and
        which of these is a sample's own `(B,)`, a number outside 0 ... n - 1 where another rank owns it."""
        own = labels - self.first_class
        if self.sample_rate == 1 or not self.training:
            return self.weight, own
        chosen = self.draw_classes(own)  # (n,), sorted
        K = self.num_subcenters
        rows = chosen if K == 1 else (K * chosen[:, None] + torch.arange(K, device=chosen.device)).flatten()
        place = torch.searchsorted(chosen, own).clamp(max=len(chosen) - 1)
        own = torch.where(chosen[place] == own, place, -1)
        return F.embedding(rows, self.weight, sparse=True), own

    def draw_classes(self, own: Tensor) -> Tensor:
        """Which of this rank's classes a training call meets, sorted `(n,)`; those in `own` must be among them."""
        return sample_classes(own, len(self.weight) // self.num_subcenters, self.sample_rate)

    def pool(self, cos: Tensor) -> Tensor:
        """A class's cosine is that of the nearest of its rows.  (B, n·K) -> (B, n)"""
        return cos if self.num_subcenters == 1 else cos.unflatten(1, (-1, self.num_subcenters)).max(2).values

    def scores(self, embeddings: Tensor) -> Tensor:
        """s · cos θ_j, no margin.  (B, C)"""
        if self.process_group is None:
            return self.scale * self.cosines(unit(embeddings), self.weight)
        every = self.cosines(unit(GatherRows.apply(embeddings, self.process_group)), self.weight)  # (W·B, n)
        every = gather_columns(every, self.num_classes, self.process_group)  # (W·B, C)
        return self.scale * every.chunk(self.process_group.size())[self.process_group.rank()]

    def cosines(self, x: Tensor, weight: Tensor) -> Tensor:
        """Cosines with every class, of unit embeddings.  (B, d), (n·K, d) -> (B, n)"""
        return self.pool(x @ unit(weight).T)


def dense(head: MarginHead, x: Tensor, weight: Tensor, labels: Tensor, rows: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Target cosine, rest, the hardest wrong class and its logit (for heads with `exact_hardest`), and the sums of
    `row_sums`, `(B,)` each: the formula as it stands, on all of (B, C)."""
    cos = head.cosines(x, weight)  # (B, C)
    own = labels[:, None]
    target_cos = cos.gather(1, own).clamp(-1, 1)  # (B, 1)
    others = head.others(cos, target_cos, tuple(row[:, None] for row in rows))  # (B, C)
    sums = (term.scatter(1, own, 0.0).sum(1) for term in head.row_sums(cos, target_cos))
    logits = head.scale * others
    hardest = logits.detach().scatter(1, own, -torch.inf).max(1) if head.exact_hardest else (None, None)  # (B,)
    return target_cos[:, 0], rest(logits, labels), *hardest[::-1], *sums


def unit(vectors: Tensor) -> Tensor:
    """Rows divided by their length; a zero row stays zero, with the finite gradient of a row of length 1."""
    length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / torch.where(length > 0, length, 1.0)


def most_precise(x: Tensor) -> Tensor:
    """In float64, where the device has it: near θ = 0 rounding cos θ to float32 shifts θ by up to 3e-4."""
    return x if x.device.type == "mps" else x.double()


def sine(cos: Tensor) -> Tensor:
    """sin θ ≥ 0 from cos θ in [-1, 1]; at ±1, where the slope is infinite, the gradient is 0 and the value exact."""
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
