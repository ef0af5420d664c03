"""What every loss shares: how it is called, what it refuses, how it reduces."""

from __future__ import annotations

from itertools import chain
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from facelearn.losses.parallel import OwnValues, all_or_none, gather_labels, gather_rows, own_rows

REDUCTIONS = ("mean", "sum", "none")


class Loss(nn.Module):
    """A loss called as `loss(embeddings, labels) -> scalar`.

    Embeddings are `(B, d)` and raw: a loss that needs unit vectors normalises them itself. Labels are `(B,)` int64.
    A subclass writes `per_sample(embeddings, labels) -> (B,)`; called in float32 or float64, inside autocast too.

    Args:
        reduction: `"mean"`, `"sum"`, or `"none"` for one value per sample.
        validate: look at values as well as shapes (labels in range, embeddings finite). `None`: on the CPU only, since
            on an accelerator looking forces a synchronisation. Steps aside under `torch.compile`.
        process_group: take the loss over the batches of all its ranks (see `parallel.py`), which must be equally long;
            the same number on every rank, with `"none"` the values of the own samples. A keyword of the losses for
            which this is another loss than the mean of the ranks' own: pair losses, angular heads, `Center`, `Ring`.

    Raises:
        ValueError: naming the argument, what was found and what was expected.
    """

    #: Names of own parameters that weight decay would harm; `facelearn.training.fit` reads this.
    no_weight_decay: ClassVar[tuple[str, ...]] = ()
    #: Does it compare the images of a batch with each other? Then a batch needs several of each person.
    compares: ClassVar[bool] = False

    def __init__(
        self, *, reduction: str = "mean", validate: bool | None = None, process_group: ProcessGroup | None = None
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction={reduction!r}: expected one of {REDUCTIONS}")
        self.reduction = reduction
        self.validate = validate
        self.process_group = process_group

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        all_or_none(lambda: self.check(embeddings, labels), embeddings, self.process_group, self.validate)
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = gather_rows(self.full_precision(embeddings), self.process_group)
            labels = gather_labels(labels, self.process_group)
            return self.reduce(self.per_sample(embeddings, labels), embeddings)

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """One value per sample `(B,)`; a pair loss gives the sums of its terms per anchor, and how many they were."""
        raise NotImplementedError

    def reduce(self, losses: Tensor | tuple[Tensor, Tensor], embeddings: Tensor) -> Tensor:
        """Apply `reduction`. Nothing to average over (no pair in the batch) gives 0, attached to the graph."""
        sums, counts = losses if isinstance(losses, tuple) else (losses, torch.ones_like(losses, dtype=torch.int64))
        if self.reduction == "none":
            each = sums / counts.clamp(min=1)
            if self.process_group is None:
                return each
            own = own_rows(embeddings, self.process_group)
            first, end = (self.values_before(row, len(embeddings)) for row in (own.start, own.stop))
            return OwnValues.apply(each, first, end, self.process_group)
        total = sums.sum() + (0 * embeddings).sum()
        return total / counts.sum().clamp(min=1) if self.reduction == "mean" else total

    def values_before(self, row: int, rows: int) -> int:
        """How many of the values of `reduction="none"` come before those of a row."""
        return row

    def check(self, embeddings: Tensor, labels: Tensor) -> None:
        """Refuse what cannot be a batch; `ValueError` names the argument."""
        if embeddings.ndim != 2 or len(embeddings) == 0:
            raise ValueError(f"embeddings has shape {tuple(embeddings.shape)}: expected (B, d) with B >= 1")
        if not embeddings.is_floating_point():
            raise ValueError(f"embeddings has dtype {embeddings.dtype}: expected a floating point type")
        if labels.shape != embeddings.shape[:1]:
            raise ValueError(f"labels has shape {tuple(labels.shape)}: expected ({len(embeddings)},), one a sample")
        if labels.dtype != torch.int64:
            raise ValueError(f"labels has dtype {labels.dtype}: expected torch.int64")
        if labels.device != embeddings.device:
            raise ValueError(f"labels is on {labels.device}: expected {embeddings.device}, as embeddings")
        seems_finite = (
            not self.looks_at_values(embeddings) or embeddings.detach().sum().isfinite()
        )  # quick; may overflow
        if not seems_finite and not embeddings.isfinite().all():
            row = int((~embeddings.isfinite()).any(1).nonzero()[0])
            raise ValueError(f"embeddings holds NaN or inf, first in row {row}: expected finite values")

    def looks_at_values(self, tensor: Tensor) -> bool:
        if torch.compiler.is_compiling():
            return False
        return tensor.device.type == "cpu" if self.validate is None else self.validate

    def full_precision(self, embeddings: Tensor) -> Tensor:
        return embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings


class ClassLoss(Loss):
    """A loss with one row per class: knows its embedding dimension and its number of classes.

    Args:
        embedding_dim: d.
        num_classes: C, at least 2: with a single class there is nothing to tell apart.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        reduction: str = "mean",
        validate: bool | None = None,
        process_group: ProcessGroup | None = None,
    ) -> None:
        super().__init__(reduction=reduction, validate=validate, process_group=process_group)
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim={embedding_dim}: expected at least 1")
        if num_classes < 2:
            raise ValueError(f"num_classes={num_classes}: expected at least 2 classes to tell apart")
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes

    def check(self, embeddings: Tensor, labels: Tensor) -> None:
        super().check(embeddings, labels)
        self.check_embeddings(embeddings)
        if self.looks_at_values(labels):
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= self.num_classes:
                found = low if low < 0 else high
                raise ValueError(f"labels holds {found}: expected 0 <= label < num_classes={self.num_classes}")

    def check_embeddings(self, embeddings: Tensor) -> None:
        own = next(chain(self.parameters(), self.buffers())).dtype
        if own not in (torch.float32, torch.float64):
            raise ValueError(f"the loss has dtype {own}: expected float32 or float64; only embeddings may be half")
        if self.full_precision(embeddings).dtype != own:
            raise ValueError(f"embeddings has dtype {embeddings.dtype}: expected {own}, as the parameters of the loss")
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embedding_dim:
            raise ValueError(
                f"embeddings has shape {tuple(embeddings.shape)}: expected (B, embedding_dim={self.embedding_dim})"
            )

    def extra_repr(self) -> str:
        """`ArcFace(64, 300, scale=64.0, margin=0.5)`: the settings as they are now."""
        hidden = {"training", "embedding_dim", "num_classes", "validate"}
        settings = {k: v for k, v in vars(self).items() if k not in hidden and not k.startswith("_")}
        shown = [f"{k}={v!r}" for k, v in settings.items() if isinstance(v, (int, float, str))]
        return ", ".join([str(self.embedding_dim), str(self.num_classes), *shown])


class Classifier(ClassLoss):
    """A loss with a score for every class: write `scores`, and `logits` follows."""

    def scores(self, embeddings: Tensor) -> Tensor:
        """Margin-free scores, computed in float32 or float64.  (B, d) -> (B, C)"""
        raise NotImplementedError

    def logits(self, embeddings: Tensor) -> Tensor:
        """The scores to predict with, no margin.  (B, d) -> (B, C)"""
        all_or_none(lambda: self.check_embeddings(embeddings), embeddings, self.process_group, self.validate)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.scores(self.full_precision(embeddings))


def pair_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of the batch are positive (same class, not itself), and which negative.  (B,) -> (B, B), (B, B)"""
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~itself, ~same


def rest(logits: Tensor, labels: Tensor) -> Tensor:
    """log Σ_{j≠y} exp(logit_j): what the target logit has to beat.  (B, C), (B,) -> (B,)"""
    return logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)


def cross_entropy(target: Tensor, rest: Tensor) -> Tensor:
    """Cross-entropy from the target logit and the log-sum-exp of all the others.  (B,), (B,) -> (B,)

    -log( e^t / (e^t + e^r) ) = -log σ(t - r). The same number as `F.cross_entropy`, but where the loss is nearly zero
    that subtracts two almost equal numbers (percents off in float32 at a loss of 1e-5), and this does not.
    """
    return -F.logsigmoid(target - rest)
