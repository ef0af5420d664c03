"""What every loss shares: how it is called, what it refuses, how it reduces."""

from __future__ import annotations

import copy
import difflib
import inspect
import math
import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from itertools import chain
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from facelearn.losses.derivatives import first_order, functional, state_kept, transformed
from facelearn.losses.parallel import OwnValues, all_or_none, gather_labels, gather_samples, samples_of_rank

REDUCTIONS = ("mean", "sum", "none")
#: settings that the shapes of parameters follow from
SIZES = ("embedding_dim", "num_classes", "num_subcenters", "covariance")


class Rule(NamedTuple):
    """What a setting may be: a test, and the words that follow "expected" where it fails."""

    allows: Callable[[Any], bool]
    words: str


POSITIVE = Rule(lambda v: 0 < v < math.inf, "a positive number")
NOT_NEGATIVE = Rule(lambda v: 0 <= v < math.inf, "a number >= 0")
FINITE = Rule(math.isfinite, "a finite number")
AT_LEAST_ONE = Rule(lambda v: isinstance(v, Integral) and int(v) >= 1, "at least 1, a whole number")
SHARE = Rule(lambda v: 0 <= v <= 1, "a number from 0 to 1")
ANGLE_OR_COSINE = Rule(lambda v: 0 <= v < math.pi, "radians or a cosine difference, 0 <= margin < pi")
RADIANS = Rule(lambda v: 0 <= v < math.pi, "radians, from 0 to below pi (0.5 is 28.65 degrees)")


def one_of(*names: str) -> Rule:
    return Rule(lambda v: v in names, f"one of {names}")


class Common(TypedDict, total=False):
    """The keywords that every loss hands on to `Loss`."""

    reduction: str
    validate: bool | None
    device: torch.device | str | int | None
    dtype: torch.dtype | None


class Labelled(Common, total=False):
    """The keywords that a loss with classes hands on to `ClassLoss`."""

    ignore_label: int | None


class Scored(Labelled, total=False):
    """Those that a loss with a score for every class hands on to `Classifier`."""

    label_smoothing: float


class Loss(nn.Module):
    """A loss called as `loss(embeddings, labels) -> scalar`.

    Embeddings are `(B, d)` and raw: a loss that needs unit vectors normalises them itself. Labels are `(B,)` int64.
    A subclass writes `per_sample(embeddings, labels) -> (B,)`; called in float32 or float64, inside autocast too.
    Settings are plain attributes and may be changed while training; what the constructor refuses is refused then too.

    Args:
        reduction: `"mean"`, `"sum"`, or `"none"` for one value per sample.
        validate: look at values as well as shapes (labels in range, embeddings finite). `None`: on the CPU only, since
            on an accelerator looking forces a synchronisation. Steps aside under `torch.compile` and `torch.func`.
            Where nobody has looked, a label without a class gives NaN.
        device, dtype: where, and in which type (float32 or float64), parameters and state are made.

    Some losses also take a `process_group`: the loss is then that of the batches of all its ranks, all of one size (see
    `parallel.py`). It is the same number on every rank, or with `"none"` the values of the own samples. They are the
    losses for which that is not the mean of the ranks' own: pair losses, angular heads, `Center`, `Ring`.

    Raises:
        ValueError: of a setting or a batch, as `name=found: expected ...`.
        TypeError: a keyword that the loss does not have.
    """

    #: Names of own parameters that weight decay would harm; `facelearn.training.fit` reads this.
    no_weight_decay: ClassVar[tuple[str, ...]] = ()
    #: Names of own parameters without a row per class, whatever their length; `facelearn.starting` reads this.
    no_rows: ClassVar[tuple[str, ...]] = ()
    #: Does it compare the images of a batch with each other? Then a batch needs several of each person.
    compares: ClassVar[bool] = False
    #: What each setting may be, whenever it is set. A subclass adds those of its own.
    rules: ClassVar[dict[str, Rule]] = {"reduction": one_of(*REDUCTIONS)}

    #: Is something that depends on the embeddings a constant to the gradient? Then there is no second derivative.
    holds_constants: bool = False
    #: Taken by the constructors of some losses; `None`, for one process, in all others.
    process_group: ProcessGroup | None = None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.rules = {k: rule for kind in reversed(cls.__mro__) for k, rule in vars(kind).get("rules", {}).items()}

    def __init__(
        self,
        *,
        reduction: str = "mean",
        validate: bool | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **unknown: object,
    ) -> None:
        if unknown:
            raise TypeError(unexpected(next(iter(unknown)), type(self)))
        if dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"dtype={dtype}: expected torch.float32 or torch.float64; only embeddings may be half")
        super().__init__()
        self._made: dict[str, Any] = {"device": device, "dtype": dtype}  # of what the constructors make
        self.reduction = reduction
        self.validate = validate

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.rules and not isinstance(value, nn.Parameter):
            self.check_setting(name, value)
        super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Loss:
        """A copy that talks to the same processes: a process group cannot be copied."""
        if self.process_group is not None:
            memo[id(self.process_group)] = self.process_group
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        vars(copied).update(copy.deepcopy(vars(self), memo))
        return copied

    def check_setting(self, name: str, value: Any) -> None:
        """Refuse a value that a setting must not have. Extended where several settings have to agree."""
        rule = self.rules[name]
        try:
            allowed = rule.allows(value)
        except TypeError:  # no number
            allowed = False
        if not allowed:
            raise ValueError(f"{name}={value!r}: expected {rule.words}")
        if name in SIZES and vars(self).get(name, value) != value:
            raise ValueError(f"{name}={value!r}: expected {vars(self)[name]!r}, which parameters were made for")

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        compiled = torch.compiler.is_compiling()
        if self.process_group is not None and not compiled and transformed(embeddings):
            ranks = self.process_group.size()
            raise RuntimeError(f"process_group={ranks} ranks: expected None under torch.func and in forward mode")
        all_or_none(lambda: self.check(embeddings, labels), embeddings, self.process_group, self.validate)
        if compiled:
            return self.value(embeddings, labels)
        with state_kept(self) if functional() else nullcontext():
            value = self.value(embeddings, labels)
        return first_order(value) if self.holds_constants else value

    def value(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch that has been checked."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = gather_samples(self.full_precision(embeddings), self.process_group)
            labels = gather_labels(labels, self.process_group)
            return self.reduce(self.per_sample_or_nan(embeddings, labels), embeddings)

    def per_sample_or_nan(self, embeddings: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """`per_sample`; where labels were not looked at, NaN for one that cannot be."""
        return self.per_sample(embeddings, labels)

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """One value per sample `(B,)`. A pair loss returns two: per anchor the sum of its terms, and their number."""
        raise NotImplementedError

    def reduce(self, losses: Tensor | tuple[Tensor, Tensor], embeddings: Tensor) -> Tensor:
        """Apply `reduction`. A batch without any term (no pair) gives 0, and gradients of 0 rather than none."""
        sums, counts = losses if isinstance(losses, tuple) else (losses, torch.ones_like(losses, dtype=torch.int64))
        if self.reduction == "none":
            each = sums / counts.clamp(min=1)
            if self.process_group is None:
                return each
            own = samples_of_rank(embeddings, self.process_group)
            first, end = (self.values_before(sample, len(embeddings)) for sample in (own.start, own.stop))
            return OwnValues.apply(each, first, end, self.process_group)
        total = sums.sum() + (0 * embeddings).sum()
        return total / counts.sum().clamp(min=1) if self.reduction == "mean" else total

    def values_before(self, sample: int, samples: int) -> int:
        """Where in the values of `reduction="none"` those of a sample begin."""
        return sample

    def check(self, embeddings: Tensor, labels: Tensor) -> None:
        """Refuse what cannot be a batch; `ValueError` names the argument."""
        must_be_tensor("embeddings", embeddings)
        must_be_tensor("labels", labels)
        if embeddings.ndim != 2 or len(embeddings) == 0:
            raise ValueError(f"embeddings.shape={tuple(embeddings.shape)}: expected (B, d) with B >= 1")
        if not embeddings.is_floating_point():
            raise ValueError(f"embeddings.dtype={embeddings.dtype}: expected a floating point type")
        if labels.shape != embeddings.shape[:1]:
            raise ValueError(f"labels.shape={tuple(labels.shape)}: expected ({len(embeddings)},), a label per sample")
        if labels.dtype != torch.int64:
            raise ValueError(f"labels.dtype={labels.dtype}: expected torch.int64")
        if labels.device != embeddings.device:
            raise ValueError(f"labels.device={labels.device}: expected {embeddings.device}, as embeddings")
        looks = self.looks_at_values(embeddings)
        # the sum is quick, and not finite where one of them is not; but it may overflow
        if looks and not embeddings.detach().sum().isfinite() and not embeddings.isfinite().all():
            sample = int((~embeddings.isfinite()).any(1).nonzero()[0])
            found = float(embeddings.detach()[sample][~embeddings[sample].isfinite()][0])
            raise ValueError(f"embeddings[{sample}]={found}: expected finite values, no NaN and no inf")

    def looks_at_values(self, tensor: Tensor) -> bool:
        if torch.compiler.is_compiling() or functional():
            return False
        return tensor.device.type == "cpu" if self.validate is None else self.validate

    def full_precision(self, embeddings: Tensor) -> Tensor:
        return embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings

    def extra_repr(self) -> str:
        """`margin=0.2, mining='all', reduction='mean'`: the settings as they are now, learnt numbers among them."""
        hidden = {"training", "validate", "process_group", "embedding_dim", "num_classes", "first_class"}
        plain = {k: v for k, v in vars(self).items() if v is None or isinstance(v, (int, float, str))}
        learnt = {k: p.detach() for k, p in self._parameters.items() if p is not None and p.ndim == 0}
        shown = [(k, v) for k, v in (plain | learnt).items() if k not in hidden and not k.startswith("_")]
        return ", ".join(f"{k}={v!r}" for k, v in sorted(shown, key=lambda setting: setting[0] == "reduction"))


def must_be_tensor(name: str, given: object) -> None:
    if not isinstance(given, Tensor):
        shown = textwrap.shorten(repr(given), 60, placeholder=" ...")
        raise ValueError(f"{name}={shown}: expected a tensor, not a {type(given).__name__}")


def keywords(kind: type[Loss]) -> set[str]:
    """All keywords that a loss takes, also those that its constructor hands on to the classes above it."""
    inits = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base) and issubclass(base, Loss)]
    parameters = chain.from_iterable(inspect.signature(init).parameters.values() for init in inits)
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def unexpected(keyword: str, kind: type[Loss]) -> str:
    """Of a keyword that a loss does not take: the one that may have been meant, or those that there are."""
    meant = difflib.get_close_matches(keyword, keywords(kind), n=1)
    hint = f". Did you mean {meant[0]!r}?" if meant else f": expected some of {', '.join(sorted(keywords(kind)))}"
    return f"{kind.__name__}() got an unexpected keyword argument {keyword!r}{hint}"


class PairLoss(Loss):
    """A loss that compares the images of a batch with each other; or also with those of earlier batches.

    Args:
        process_group: take the pairs of the batches of all ranks, not of its own alone (see `parallel.py`).

    Called as `loss(embeddings, labels, reference=(earlier, their_labels))`, the images of the batch are compared with
    each other and with M earlier ones, `(M, d)` and `(M,)`, which are constants to the gradient and no anchors of their
    own: each anchor of the batch has the value that it has in the batch of all B + M. Inside the batch the gradient is
    whole: a pair moves both its images, as without a reference. A memory begins with a batch that was compared
    with itself alone, `memory, labels_of_memory = x.detach(), y`, and then is a matter of two lines:

        loss = supcon(x, y, reference=(memory, labels_of_memory))
        memory, labels_of_memory = torch.cat([x.detach(), memory])[:4096], torch.cat([y, labels_of_memory])[:4096]

    It holds B x (B + M) numbers, not (B + M)² (but for `Contrastive(reduction="none")`). Earlier embeddings are of an
    older net; keep few, or a slow one
    (Wang, Zhang, Huang, Scott, "Cross-Batch Memory for Embedding Learning", CVPR 2020, arXiv 1912.06798).
    Elsewhere: the memory of pytorch-metric-learning holds the batch itself too, as constants: half of the gradient.
    """

    compares = True

    def __init__(self, *, process_group: ProcessGroup | None = None, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.process_group = process_group

    def forward(self, embeddings: Tensor, labels: Tensor, reference: tuple[Tensor, Tensor] | None = None) -> Tensor:
        if reference is None:
            return super().forward(embeddings, labels)
        self.check_reference(embeddings, labels, reference)
        with torch.autocast(embeddings.device.type, enabled=False):
            both = torch.cat([self.full_precision(embeddings), self.full_precision(reference[0].detach())])
            value = self.reduce(self.per_sample(both, torch.cat([labels, reference[1]]), len(embeddings)), both)
        return first_order(value) if self.holds_constants else value

    def check_reference(self, embeddings: Tensor, labels: Tensor, reference: tuple[Tensor, Tensor]) -> None:
        if self.process_group is not None:
            raise ValueError(f"reference: with a process_group of {self.process_group.size()} ranks: expected None")
        if not (isinstance(reference, tuple) and len(reference) == 2):
            raise ValueError(f"reference={type(reference).__name__}: expected a pair (embeddings, labels)")
        self.check(embeddings, labels)
        try:
            self.check(*reference)
        except ValueError as error:
            raise ValueError(f"reference: {error}") from None
        for name in ("dtype", "device"):
            found, expected = getattr(reference[0], name), getattr(embeddings, name)
            if found != expected:
                raise ValueError(f"reference: embeddings.{name}={found}: expected {expected}, as the batch")
        if reference[0].shape[1] != embeddings.shape[1]:
            found = tuple(reference[0].shape)
            raise ValueError(f"reference: embeddings.shape={found}: expected (M, {embeddings.shape[1]})")

    def per_sample(self, embeddings: Tensor, labels: Tensor, anchors: int | None = None) -> Any:
        """As in `Loss`; `anchors`: the first of the samples, those that are compared with all. None: all of them."""
        raise NotImplementedError


class ClassLoss(Loss):
    """A loss with one row per class: knows its embedding dimension and its number of classes.

    Args:
        embedding_dim: d.
        num_classes: C, at least 2: with a single class there is nothing to tell apart.
        ignore_label: samples of this label take no part: their value is 0, their gradient 0, no running state sees
            them, and the mean is that over the others. Where no other is left the loss is 0 with gradients of 0
            (torch's `cross_entropy` with `ignore_index` gives NaN). To leave them out, an accelerator has to wait. Pair
            losses know of no such label: in a `Joint` they take all samples that have it for one person.
    """

    rules: ClassVar = {
        "embedding_dim": AT_LEAST_ONE,
        "num_classes": Rule(
            lambda v: isinstance(v, Integral) and int(v) >= 2, "at least 2 classes to tell apart, a whole number"
        ),
        "ignore_label": Rule(lambda v: v is None or type(v) is int, "a whole number, or None"),
    }

    ignore_label: int | None = None

    def __init__(
        self, embedding_dim: int, num_classes: int, *, ignore_label: int | None = None, **common: Unpack[Common]
    ) -> None:
        super().__init__(**common)
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes
        if ignore_label is not None:  # a setting that only shows where it is used
            self.ignore_label = ignore_label

    def check(self, embeddings: Tensor, labels: Tensor) -> None:
        super().check(embeddings, labels)
        self.check_embeddings(embeddings)
        if self.looks_at_values(labels):
            seen = labels if self.ignore_label is None else labels.where(labels != self.ignore_label, 0)
            low, high = int(seen.min()), int(seen.max())
            if low < 0 or high >= self.num_classes:
                sample = int(seen.argmin() if low < 0 else seen.argmax())
                found = low if low < 0 else high
                raise ValueError(f"labels[{sample}]={found}: expected 0 <= label < num_classes={self.num_classes}")

    def per_sample_or_nan(self, embeddings: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.ignore_label is None:
            return self.per_known_sample(embeddings, labels)
        kept = labels != self.ignore_label  # (B,)
        if not kept.any():
            nothing = torch.stack([(0 * leaf).sum() for leaf in (embeddings, *self.leaves())]).sum()
            return nothing.expand(len(labels)), kept.long()
        losses = self.per_known_sample(embeddings[kept], labels[kept])
        return losses.new_zeros(len(labels)).masked_scatter(kept, losses), kept.long()

    def leaves(self) -> list[Tensor]:
        """What gets a gradient of 0 where no sample is left: all that the loss learns."""
        return list(self.parameters())

    def per_known_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """`per_sample`; where labels were not looked at, NaN for one without a class."""
        if self.looks_at_values(labels):
            return self.per_sample(embeddings, labels)
        known = labels.clamp(0, self.num_classes - 1)
        return self.per_sample(embeddings, known).where(known == labels, torch.nan)

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """One value per sample.  (B, d), (B,) -> (B,)"""
        raise NotImplementedError

    def check_embeddings(self, embeddings: Tensor) -> None:
        must_be_tensor("embeddings", embeddings)
        own = next(chain(self.parameters(), self.buffers())).dtype
        if own not in (torch.float32, torch.float64):
            raise ValueError(f"loss.dtype={own}: expected float32 or float64; only embeddings may be half")
        if self.full_precision(embeddings).dtype != own:
            raise ValueError(f"embeddings.dtype={embeddings.dtype}: expected {own}, as the parameters of the loss")
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embedding_dim:
            raise ValueError(
                f"embeddings.shape={tuple(embeddings.shape)}: expected (B, embedding_dim={self.embedding_dim})"
            )

    def extra_repr(self) -> str:
        """`64, 300, scale=64.0, margin=0.5`: d, C, and the settings as they are now."""
        return f"{self.embedding_dim}, {self.num_classes}, {super().extra_repr()}"


class Classifier(ClassLoss):
    """A loss with a score for every class: write `scores`, and `logits` follows.

    Args:
        label_smoothing: ε, the share of every label that is spread evenly over all C classes. With the logits z that
            the loss compares, margins included:

                (1 - ε) (-log p_y) + ε / C Σ_j (-log p_j)  =  -log p_y + ε (z_y - Σ_j z_j / C),    p = softmax(z)

            It is `torch.nn.functional.cross_entropy(z, y, label_smoothing=ε)` (Szegedy et al., "Rethinking the
            Inception Architecture", CVPR 2016, arXiv 1512.00567, section 7).
    """

    rules: ClassVar = {"label_smoothing": SHARE}

    label_smoothing: float = 0.0

    def __init__(
        self, embedding_dim: int, num_classes: int, *, label_smoothing: float = 0.0, **labelled: Unpack[Labelled]
    ) -> None:
        super().__init__(embedding_dim, num_classes, **labelled)
        if label_smoothing:
            self.label_smoothing = label_smoothing

    def smoothed(self, losses: Tensor, target: Tensor, others: Tensor) -> Tensor:
        """With label smoothing: from cross-entropies, target logits, and the sums of the other logits.  (B,) each"""
        return losses + self.label_smoothing * (target - (target + others) / self.num_classes)

    def scores(self, embeddings: Tensor) -> Tensor:
        """Margin-free scores, computed in float32 or float64.  (B, d) -> (B, C)"""
        raise NotImplementedError

    def logits(self, embeddings: Tensor) -> Tensor:
        """The scores to predict with, no margin.  (B, d) -> (B, C)"""
        all_or_none(lambda: self.check_embeddings(embeddings), embeddings, self.process_group, self.validate)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.scores(self.full_precision(embeddings))
