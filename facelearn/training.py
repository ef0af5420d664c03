"""One training loop, to be read from top to bottom: `fit`. Then `embed` and `accuracy`, to see what it did.

`fit` knows neither a concrete loss nor a concrete data set:

* net:  `(B, C, H, W)` → embeddings `(B, d)`
* loss: `loss(embeddings, labels)` → scalar, with learnable parts of its own
* data: either holds `.images` uint8 `(N, C, H, W)` and `.labels` int64 `(N,)`, which then move to the device once and
  are batched by plain indexing; or is any other `Dataset` of `(image, label)` pairs, which goes through a `DataLoader`.

Everything random in an epoch is drawn from generators keyed by (seed, epoch). The global random state is neither used
nor moved; an interrupted training that resumes from its checkpoint draws what it would have drawn.
On a CPU the result is the same bit for bit (for one machine and number of threads), resumed or not. On a GPU some
sums are added in changing order, and the last digits differ from run to run.

Started by `torchrun` (with the process group initialised, see `distributed.start`), the same call trains on several
processes: `batch_size` is that of all together, and the batches are those of one process, shared out.
"""

import hashlib
import math
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm.auto import tqdm

from facelearn import distributed
from facelearn.checkpoint import Checkpoint, Record, content_hash
from facelearn.data.image_set import to_float
from facelearn.losses.sampling import touched_rows_only

Augment = Callable[[Tensor, torch.Generator], Tensor]
Batches = Callable[[Tensor, int, torch.Generator], Iterable[Tensor]]


def fit(
    net: nn.Module,
    loss: nn.Module,
    data: Any,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 4e-3,
    weight_decay: float = 5e-4,
    seed: int = 0,
    augment: Augment | None = None,
    batches: Batches | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[int, Record], None] | None = None,
    device: str | torch.device | None = None,
    amp: bool | str = False,
    channels_last: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    workers: int = 0,
) -> list[Record]:
    """Train `net` and the learnable parts of `loss` together; AdamW, one-cycle learning rate.

    Returns one record per epoch: `epoch` (1, 2, ...), `loss` (mean over its batches), `lr` (of its last step), `steps`,
    `seconds`. `net` and `loss` are changed in place and stay on the device, in training mode.

    * `lr` is the peak of the cycle; `weight_decay` acts on what `parameter_groups` says. Search `lr` for each loss: on
      the course's synthetic faces nearly all were better at 4 to 8 times the default, at which most chapters train
      (`course/en/protocol.md`).
    * `augment(images, generator)`: images float `(B, C, H, W)` in [-1, 1] on the device → same shape. Draws come from
      the generator, which lives on the CPU. See `ShiftAndGain`.
    * `batches(labels, epoch, generator)`: index tensors of one epoch, the same number in each; `batch_size` is then
      unused. See `facelearn.data.samplers.PKBatches`. Default: shuffled batches, an incomplete last one left out.
    * `on_step(step, total)` runs before each step, step = 0 ... total - 1: for margins that warm up, terms that start
      late.
    * `on_epoch(epoch, record)` runs after each epoch, before its checkpoint; numbers it puts into `record` are kept.
    * `device`: CUDA where there is one, unless named.
    * `amp`: False, "bf16", "fp16", or True (bf16 if the device has it); the net then runs in half precision, the loss
      always in float32. A net in float64 gets its images in float64.
    * `channels_last`: channels side by side in memory, which convolutions on a GPU in half precision want.
    * `checkpoint`: a file written after each epoch, whole or not at all, in a folder that is there. If the file is,
      training resumes after the epoch it holds (or returns at once, if that was the last); with other settings it is
      refused.
    * `progress`: a bar; None decides by `show_progress`. `workers`: processes that load data that is not in memory.

    With several processes each batch is shared out evenly, the net's gradients are averaged, and the loss is taken over
    the batch of all (`distributed.py` says how). So the curve is that of one process, up to rounding, unless the net
    has batch normalisation: each process normalises with the statistics of its own share (batch_size / processes
    images), and the running statistics are those of the first process. Use group or frozen normalisation, large
    batches, or on GPUs `nn.SyncBatchNorm.convert_sync_batchnorm(net)`, which has no CPU version. `augment` must treat
    each image by itself; dropout draws differently on each process. Build net and loss alike everywhere (from the same
    seed) and call `fit` everywhere; `on_step` and `on_epoch` run everywhere, only the first process writes the
    checkpoint and shows progress. Another number of processes may resume from the checkpoint.

    Raises ValueError for settings that cannot work, FloatingPointError as soon as the loss is no longer finite (checked
    before the weights change on a CPU, every 50 steps on a GPU), OSError if the checkpoint cannot be written (before
    training), ValueError if it is damaged or was written with other settings. Where another process fails alone,
    `distributed.OtherRank` with its error, as soon as it has ended.
    """
    _check_settings(data, epochs, batch_size, lr, weight_decay, seed, batches)
    _check_labels(data, loss)
    device = best_device(device)
    half = _half_precision(amp, device)
    layout = torch.channels_last if channels_last else torch.preserve_format
    if device.type == "cpu":
        _keep_freed_memory()
    net.to(device), loss.to(device)
    net.to(memory_format=layout)  # type: ignore[call-overload]
    precision = _precision(net)
    source = _in_memory(data, device)
    ranks = distributed.Ranks(net, loss)  # this process among those that train together, most often alone
    optimizer = torch.optim.AdamW(parameter_groups(net, loss, weight_decay), lr=lr)
    touched_rows_only(optimizer)  # of a loss that samples its classes
    scaler = ranks.scaler(device, half is torch.float16)  # fp16 gradients underflow unscaled

    records: list[Record] = []
    keeper = None
    if checkpoint is not None:
        settings = {
            "epochs": epochs, "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay, "seed": seed,
            "augment": _name(augment), "batches": _name(batches), "amp": str(half),
        }  # fmt: skip
        keeper = Checkpoint(checkpoint, net, loss, optimizer, scaler, settings | _fingerprint(data), ranks)
        records = keeper.resume()

    parallel = ranks.wrap(device)  # the net, its gradients averaged over the ranks
    quiet = ranks.rank > 0 or not show_progress(progress)
    with ranks.failing_with(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        for epoch in range(len(records) + 1, epochs + 1):
            began = time.perf_counter()
            torch.manual_seed(_key(seed, epoch, "global"))  # dropout and the like
            draws = torch.Generator().manual_seed(_key(seed, epoch, "augment"))
            plan = _plan(data, epoch, seed, batch_size, batches, records)
            total = epochs * len(plan)
            losses = torch.zeros(len(plan), dtype=torch.promote_types(precision, torch.float32), device=device)
            net.train(), loss.train()

            feed = _load(source, ranks.share(plan), device, workers, _key(seed, epoch, "workers"))
            bar = tqdm(feed, f"epoch {epoch}/{epochs}", len(plan), leave=False, disable=quiet)
            for i, (images, labels) in enumerate(bar):
                step = (epoch - 1) * len(plan) + i
                if on_step is not None:
                    on_step(step, total)
                rate = set_rates(optimizer, lr, step, total)
                if augment is not None:
                    images = ranks.augment(augment, images, draws)  # (B, C, H, W)
                images = images.to(precision, memory_format=layout)
                with ranks.own_draws(_key(seed, step, "own"), device):
                    embeddings = _embeddings(parallel, images, half)  # (B, d)
                embeddings, labels = ranks.gather(embeddings, labels)
                try:
                    value = step_loss(loss, embeddings, labels)  # scalar
                except FloatingPointError as error:
                    raise _diverged("embeddings", epoch, i, losses, records) from error
                losses[i] = ranks.mean(value.detach())
                if device.type == "cpu" or i % 50 == 49 or i + 1 == len(plan):  # on a GPU, looking means waiting
                    if not losses[: i + 1].isfinite().all():
                        raise _diverged("loss", epoch, i, losses, records)
                    bar.set_postfix(loss=f"{losses[i]:.3f}", refresh=False)

                optimizer.zero_grad()
                scaler.scale(value).backward()
                ranks.average_gradients()
                scaler.step(optimizer)
                scaler.update()

            records.append({"epoch": epoch, "loss": losses.mean().item(), "lr": rate, "steps": len(plan),
                            "seconds": time.perf_counter() - began})  # fmt: skip
            ranks.same_buffers()
            if on_epoch is not None:
                on_epoch(epoch, records[-1])
            if keeper is not None:
                keeper.write(records)
    return records


def set_rates(optimizer: torch.optim.Optimizer, peak: float, step: int, total: int) -> float:
    """Give the optimiser the learning rate and β₁ of this step; returns the learning rate."""
    share, beta1 = one_cycle(step, total)
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = peak * share, (beta1, 0.999)
    return peak * share


def step_loss(loss: nn.Module, embeddings: Tensor, labels: Tensor) -> Tensor:
    """The scalar `loss(embeddings (B, d), labels (B,))`.

    Losses refuse embeddings that are not finite, with a ValueError; here it becomes a FloatingPointError, since the
    training has diverged. ValueError where the loss returns anything else than a scalar.
    """
    try:
        value = loss(embeddings, labels)
    except ValueError as error:
        if embeddings.isfinite().all():
            raise
        raise FloatingPointError("embeddings: not finite") from error
    if value.ndim:
        raise ValueError(f"loss: returned shape {tuple(value.shape)}; expected a scalar (reduction='mean')")
    return value


def one_cycle(step: int, total: int, warmup: float = 0.2) -> tuple[float, float]:
    """Share of the peak learning rate and AdamW's β₁ at `step` of `total`: up in the first fifth, then down to nothing.

    Both halves are half cosine waves: 1/25 → 1 → 1/250,000, while β₁ goes .95 → .85 → .95 (much momentum at small
    steps, little at large ones). A function of the step alone, so there is no state to save.
    Source: Smith and Topin, "Super-Convergence" (2017, arXiv:1708.07120); the same numbers as torch's `OneCycleLR`.
    """
    top = max(warmup * total - 1, 0.0)  # the step at the peak (seldom a whole number)
    low, half_way = (
        (1 / 25, step / top if top else 1.0) if step <= top else (1 / 25e4, (total - 1 - step) / (total - 1 - top))
    )
    wave = (1 - math.cos(math.pi * half_way)) / 2  # 0 at the ends, 1 at the peak
    return low + (1 - low) * wave, 0.95 - 0.10 * wave


def parameter_groups(net: nn.Module, loss: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: decayed, and not decayed. This is the one place that decides.

    Not decayed are (1) one-dimensional parameters of the net: biases and the scales and offsets of normalisations;
    (2) what any module inside net or loss names in its attribute `no_weight_decay: tuple[str, ...]`, for example
    `("bias",)`. Parameters that do not require a gradient are in neither group.
    ValueError when a module names a parameter that it does not have, or when nothing is left to learn.
    """
    spared = {id(p) for p in net.parameters() if p.ndim <= 1}
    for module in (*net.modules(), *loss.modules()):
        for name in getattr(module, "no_weight_decay", ()):
            if not hasattr(module, name):
                raise ValueError(f"no_weight_decay: {type(module).__name__} names {name!r}, which it does not have")
            spared.add(id(getattr(module, name)))
    unique = {id(p): p for p in (*net.parameters(), *loss.parameters()) if p.requires_grad}
    if not unique:
        raise ValueError("net, loss: neither has a parameter that requires a gradient; nothing to train")
    groups = [
        {"params": [p for i, p in unique.items() if i not in spared], "weight_decay": weight_decay},
        {"params": [p for i, p in unique.items() if i in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


@dataclass(frozen=True)
class ShiftAndGain:
    """Augmentation: shift each image by up to `pixels` in each direction, scale its light by up to ± `gain`.

    `ShiftAndGain()(images (B, C, H, W) float in [-1, 1], generator)` → same shape. Whole pixels; the border row or
    column repeats into the gap. The light is x + 1, so black stays black; bright pixels may exceed 1.
    """

    pixels: int = 2
    gain: float = 0.1

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"pixels: {self.pixels}; expected 0 or more")
        if not 0 <= self.gain < 1:
            raise ValueError(f"gain: {self.gain}; expected 0 <= gain < 1")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        b, c, h, w = images.shape
        p, high, wide = self.pixels, h + 2 * self.pixels, w + 2 * self.pixels
        # Drawn on the CPU on every device, so that a GPU trains on the same pictures.
        down, right = (torch.randint(-p, p + 1, (2, b, 1), generator=generator).view(2, b) + p).to(images.device)
        gain = 1 + self.gain * (2 * torch.rand(b, 1, 1, 1, generator=generator) - 1).to(images.device)
        padded = F.pad(images.contiguous(), (p, p, p, p), mode="replicate")  # (B, C, H + 2p, W + 2p)
        # A view of all windows of H x W pixels, by the place of their first pixel; channels side by side in memory.
        count = padded.numel() - c * high * wide + 2 * p * (wide + 1) + 1
        windows = padded.as_strided((count, h, w, c), (1, wide, 1, high * wide))
        first = (torch.arange(b, device=images.device) * c * high + down) * wide + right  # (B,)
        moved = windows.index_select(0, first).permute(0, 3, 1, 2)  # (B, C, H, W)
        return moved.mul_(gain).add_(gain - 1)  # = (x + 1) · gain - 1


def shift_and_gain(pixels: int = 2, gain: float = 0.1) -> ShiftAndGain:
    """The augmentation of the standard trainings: `fit(..., augment=shift_and_gain())`."""
    return ShiftAndGain(pixels, gain)


@dataclass(frozen=True)
class Mirror:
    """Augmentation: every other image, by chance, mirrored left to right; `then` another augmentation of all.

    `Mirror(ShiftAndGain())(images (B, C, H, W), generator)` → same shape. Right where a mirrored face is a face.
    """

    then: Augment | None = None

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        images = images.where(~mirrored.to(images.device), images.flip(3))
        return self.then(images, generator) if self.then else images


def embed(net: nn.Module, data: Any, batch_size: int = 512, device: str | torch.device | None = None) -> Tensor:
    """Embeddings `(N, d)` of all images of `data` in their order, float32 on the CPU.

    Runs in `eval()` mode and restores the mode of every part of the net. `device`: where the net is, unless named.
    `data` as for `fit`; labels are not needed, a tensor of images `(N, C, H, W)` will do.
    """
    return _embed(net, data, batch_size, device)[0]


def accuracy(net: nn.Module, loss: nn.Module, data: Any, batch_size: int = 512) -> float:
    """Share of images whose largest `loss.logits` (margin-free) is that of their label."""
    logits: Callable[[Tensor], Tensor] | None = getattr(loss, "logits", None)
    if logits is None:
        raise ValueError(f"loss: {type(loss).__name__} has no logits; accuracy needs a loss that classifies")
    embeddings, labels = _embed(net, data, batch_size)
    if len(labels) != len(embeddings):
        raise ValueError(f"data: {type(data).__name__} has no labels to compare with")
    home = next(loss.parameters(), embeddings).device
    with torch.no_grad():
        found = torch.cat([logits(e.to(home)).argmax(1).cpu() for e in embeddings.split(batch_size)])  # (N,)
    return (found == labels).float().mean().item()


@torch.no_grad()
def _embed(
    net: nn.Module, data: Any, batch_size: int, device: str | torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Embeddings (N, d) and labels (N,), both on the CPU."""
    if batch_size < 1:
        raise ValueError(f"batch_size: {batch_size}; expected at least 1")
    plan = list(torch.arange(_length(data)).split(batch_size))
    device = next(net.parameters(), torch.empty(0)).device if device is None else torch.device(device)
    modes = {module: module.training for module in net.modules()}
    try:
        net.to(device).eval()
        feed = _load(_in_memory(data, device), plan, device)
        precision = _precision(net)
        pairs = [(_embeddings(net, x.to(precision)).float().cpu(), y.cpu()) for x, y in feed]
    finally:
        for module, mode in modes.items():
            module.training = mode
    embeddings, labels = zip(*pairs, strict=True)
    return torch.cat(embeddings), torch.cat(labels)


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch (all devices), numpy and random: the start weights of nets and losses, say.

    `fit` does not need it: it draws from generators of its own.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: {seed}; expected 0 <= seed < 2**32")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (the global one is meant)
    torch.manual_seed(seed)


def show_progress(wanted: bool | None = None) -> bool:
    """Whether to draw progress bars. The first of these that says something decides:

    1. `wanted`, the caller's own word;
    2. the environment variable FACELEARN_PROGRESS: 0 or 1;
    3. under pytest (so under nbval too, whose kernels inherit PYTEST_VERSION): no;
    4. stderr is a terminal, or the kernel was started by a Jupyter server for a person with the notebook open (which
       sets JPY_SESSION_NAME): yes. Otherwise no: a log file, or a notebook executed by nbclient or nbconvert.
    """
    if wanted is not None:
        return wanted
    setting = os.environ.get("FACELEARN_PROGRESS", "")
    if setting not in ("", "0", "1"):
        raise ValueError(f"FACELEARN_PROGRESS: {setting!r}; expected 0 or 1")
    if setting:
        return setting == "1"
    if "PYTEST_VERSION" in os.environ:
        return False
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ


# ---- what fit calls -------------------------------------------------------------------------------------


class _InMemory(NamedTuple):
    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64


def _in_memory(data: Any, device: torch.device) -> Any:
    """The set's tensors on the device if it holds them, else the set itself."""
    images, labels = getattr(data, "images", None), getattr(data, "labels", None)
    if isinstance(images, Tensor) and isinstance(labels, Tensor) and images.dtype == torch.uint8:
        return _InMemory(images.to(device), labels.to(device))
    return data


class _Batches(Dataset[Any]):
    """The batches of a set that is not in memory.

    What is wrong with the data comes as an item, to be raised by who asked for it: raised in a worker, it would arrive
    as the text of a traceback.
    """

    def __init__(self, data: Any, lists: list[list[int]]) -> None:
        self.data, self.lists = data, lists

    def __len__(self) -> int:
        return len(self.lists)

    def __getitem__(self, number: int) -> Any:
        chosen = self.lists[number]
        try:
            items = (
                self.data.__getitems__(chosen) if hasattr(self.data, "__getitems__") else [self.data[i] for i in chosen]
            )
        except (ValueError, OSError) as error:
            return error
        shapes = [getattr(item[0] if isinstance(item, tuple | list) else item, "shape", None) for item in items]
        for index, shape in zip(chosen, shapes, strict=True):
            if shape != shapes[0]:
                found = f"{tuple(shape or ())} as image {index} and {tuple(shapes[0] or ())} as image {chosen[0]}"
                return ValueError(f"data: found shapes {found}; expected images of one shape")
        return default_collate(items)


def _load(
    source: Any, plan: list[Tensor], device: torch.device, workers: int = 0, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each index tensor of the plan: images float (B, C, H, W), labels (B,)."""
    if isinstance(source, _InMemory):
        for index in plan:
            index = index.to(device)
            yield to_float(source.images.index_select(0, index)), source.labels[index]
        return
    generator = torch.Generator().manual_seed(seed)  # its own: a DataLoader draws from the global one otherwise
    batches = _Batches(source, [index.tolist() for index in plan])
    for batch in DataLoader(batches, batch_size=None, num_workers=workers, generator=generator):
        if isinstance(batch, Exception):
            raise batch
        images, labels = batch[:2] if isinstance(batch, (tuple, list)) else (batch, torch.empty(0))
        images = images.to(device)
        yield to_float(images) if images.dtype == torch.uint8 else images, labels.to(device)


def _embeddings(net: nn.Module, images: Tensor, half: torch.dtype | None = None) -> Tensor:
    """`net(images)` (B, d), computed in half precision if `half` says so, and then returned in float32.

    ValueError where the net returns something else: some nets give lengths or logits beside the embeddings.
    """
    with torch.autocast(images.device.type, half, enabled=half is not None):
        returned = net(images)
    if not (isinstance(returned, Tensor) and returned.ndim == 2 and len(returned) == len(images)):
        found = f"shape {tuple(returned.shape)}" if isinstance(returned, Tensor) else f"a {type(returned).__name__}"
        raise ValueError(f"net: returned {found}; expected embeddings ({len(images)}, d)")
    return returned if half is None else returned.float()


def _plan(
    data: Any, epoch: int, seed: int, batch_size: int, batches: Batches | None, records: list[Record]
) -> list[Tensor]:
    """The epoch's batches as index tensors on the CPU, as many as in the epochs before."""
    generator = torch.Generator().manual_seed(_key(seed, epoch, "order"))
    n = _length(data)
    if batches is None:
        return list(torch.randperm(n, generator=generator)[: n - n % batch_size].split(batch_size))
    plan = [torch.as_tensor(index).cpu() for index in batches(data.labels.cpu(), epoch, generator)]
    if not plan or any(index.numel() == 0 for index in plan):
        raise ValueError(f"batches: {_name(batches)} gave no batch, or an empty one, in epoch {epoch}")
    low, high = min(int(index.min()) for index in plan), max(int(index.max()) for index in plan)
    if low < 0 or high >= n:
        raise ValueError(f"batches: {_name(batches)} gave indices {low} to {high}; data has 0 to {n - 1}")
    if records and len(plan) != records[-1]["steps"]:
        raise ValueError(
            f"batches: {len(plan)} in epoch {epoch}, {records[-1]['steps']} before; expected equally many in"
            " every epoch, because the learning rate follows one cycle over all steps"
        )
    return plan


def _check_settings(
    data: Any,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    seed: int,
    batches: Batches | None,
) -> None:
    for name, value, least in (("epochs", epochs, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: {value!r}; expected an integer of at least {least}")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr: {lr}; expected a positive number")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay: {weight_decay}; expected 0 or more")
    n = _length(data)
    if batches is None and batch_size > n:
        raise ValueError(f"batch_size: {batch_size}; but data has only {n} images")
    if batches is not None and not isinstance(getattr(data, "labels", None), Tensor):
        raise ValueError(f"data: {type(data).__name__} has no tensor .labels (N,), which batches needs")


def _check_labels(data: Any, loss: nn.Module) -> None:
    """Before they reach a GPU, where an index out of range ends the process."""
    labels = getattr(data, "labels", None)
    if not isinstance(labels, Tensor) or len(labels) == 0:
        return
    classes = getattr(loss, "num_classes", None)
    if not isinstance(classes, int):
        for part in loss.children():
            _check_labels(data, part)
        return
    seen = labels[labels != getattr(loss, "ignore_label", None)]  # a loss within this one gets no others
    low, high = (int(seen.min()), int(seen.max())) if len(seen) else (0, 0)
    if not 0 <= low <= high < classes:
        raise ValueError(f"labels: {low} to {high}; {type(loss).__name__} expects 0 to {classes - 1}")


def _length(data: Any) -> int:
    if not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
        raise ValueError(f"data: {type(data).__name__}; expected .images and .labels, or a Dataset with a length")
    if len(data) == 0:
        raise ValueError(f"data: {type(data).__name__} is empty")
    return len(data)


def best_device(named: str | torch.device | None = None) -> torch.device:
    """CUDA where there is one, unless another device is named. ValueError for one that there is not."""
    if named is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=named).device
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        raise ValueError(f"device: {str(named)!r} cannot be used here ({str(error).splitlines()[0]})") from error


def _keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one, up to 64 MB; elsewhere this does nothing.

    Otherwise it hands much of it back to the system, which clears each page again in the next step: up to a tenth of
    the time. It keeps up to twice the largest block that was mapped and freed, if that was at most 32 MB (mallopt(3),
    M_MMAP_THRESHOLD); the pages of this one are never touched.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def _precision(net: nn.Module) -> torch.dtype:
    """The floating point type of the net's parameters."""
    return next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)


def _half_precision(amp: bool | str, device: torch.device) -> torch.dtype | None:
    if amp is True:
        amp = "bf16" if device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    choices = {False: None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if amp not in choices:
        raise ValueError(f"amp: {amp!r}; expected True, False, 'bf16' or 'fp16'")
    return choices[amp]


def _key(seed: int, epoch: int, purpose: str) -> int:
    """A 64-bit seed of its own for each (seed, epoch, purpose)."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {epoch} {purpose}".encode(), digest_size=8).digest(), "little")


def _diverged(what: str, epoch: int, i: int, losses: Tensor, records: list[Record]) -> FloatingPointError:
    """The error that says when the training broke, from the losses of this epoch up to batch i."""
    seen = losses[: i if what == "embeddings" else i + 1].tolist()
    bad = next((k for k, value in enumerate(seen) if not math.isfinite(value)), i)
    last = (
        f"{seen[bad - 1]:.4g}"
        if bad
        else f"{records[-1]['loss']:.4g} (mean of epoch {epoch - 1})"
        if records
        else "none"
    )
    found = f"the loss is {seen[bad]}" if bad < len(seen) else "the embeddings are not finite"
    return FloatingPointError(
        f"{found} at step {(epoch - 1) * len(losses) + bad} (batch {bad} of epoch {epoch}); last finite loss: {last}."
        " Likely causes: lr too high; a scale or margin too large for the start of training; images or labels that are"
        " not finite or out of range; float16 overflow (try amp='bf16'). More: course/en/symptoms.md"
    )


def _name(thing: object) -> str:
    """A function's name, or an object's repr, without its address."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))


def _fingerprint(data: Any) -> dict[str, Any]:
    """Length, and hashes over what a set says of itself: labels, names and files, and its images where it holds them.

    The pictures of a set on disk are not read; its labels, names and files tell who was renamed, left out or put in,
    the lengths of the files which picture was exchanged, unless for one of as many bytes.
    """
    found: dict[str, Any] = {"data": len(data)}
    for name in ("images", "labels", "names", "files", "lengths", "keys", "size", "channels"):
        value = getattr(data, name, None)
        if isinstance(value, Tensor):
            found[f"data {name}"] = content_hash({name: value})[:16]
        elif value is not None and not callable(value):
            text = "\n".join(map(str, value)) if isinstance(value, Iterable) else str(value)
            found[f"data {name}"] = content_hash({}, text)[:16]
    return found
