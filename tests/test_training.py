"""The training loop: against a loop written out by hand, through interruption and damage, and with bad input."""

import math
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from facelearn import training
from facelearn.data.folder import ImageFolder
from facelearn.data.image_set import ImageSet, to_float
from facelearn.data.samplers import PKBatches
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, accuracy, embed, fit, one_cycle, parameter_groups, show_progress

CLASSES = 4


class Head(nn.Module):
    """A stand-in loss with everything a loss may have: parameters, a buffer that moves, a generator, settings."""

    no_weight_decay = ("offset",)

    def __init__(self, d: int, margin: float = 0.0, noise: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, d) / 4)
        self.offset = nn.Parameter(torch.zeros(CLASSES, 1))
        self.register_buffer("mean_norm", torch.ones(()))
        self.margin, self.noise, self.weights = margin, noise, (1.0, 0.0)
        self.generator = torch.Generator().manual_seed(3)

    def logits(self, embeddings: Tensor) -> Tensor:
        return embeddings @ self.weight.T + self.offset.T

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        self.mean_norm.lerp_(embeddings.detach().norm(dim=1).mean(), 0.1)
        logits = self.logits(embeddings) + self.noise * torch.randn(CLASSES, generator=self.generator)
        logits = logits - self.margin * nn.functional.one_hot(labels, CLASSES)
        return self.weights[0] * nn.functional.cross_entropy(logits, labels) + self.weights[1] * self.mean_norm


def image_set(n: int = 64, size: int = 8, channels: int = 1, seed: int = 0) -> ImageSet:
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    images = 40 * labels[:, None, None, None] + torch.randint(0, 100, (n, channels, size, size), generator=g)
    return ImageSet(images.to(torch.uint8), labels)


class Plain(Dataset[tuple[Tensor, int]]):
    """The same set, without tensors to take hold of."""

    def __init__(self, data: ImageSet) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.data[index]


def small_net(dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.Dropout(dropout), nn.Linear(6, 3))


def build(seed: int = 0, dropout: float = 0.0, **head: float) -> tuple[nn.Module, Head]:
    training.seed_everything(seed)
    return small_net(dropout), Head(3, **head)


def state(*modules: nn.Module) -> dict[str, Tensor]:
    return {f"{i}.{k}": v.clone() for i, m in enumerate(modules) for k, v in m.state_dict().items()}


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


def without_seconds(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


# ---- what one training computes


def test_fit_is_the_loop_written_by_hand() -> None:
    data, epochs, lr, decay = image_set(), 3, 1e-2, 0.1
    plan = [torch.arange(64).roll(5 * e).view(4, 16) for e in range(epochs + 1)]
    net, loss = build()
    records = fit(net, loss, data, epochs=epochs, lr=lr, weight_decay=decay, device="cpu",
                  batches=lambda labels, epoch, generator: plan[epoch])  # fmt: skip

    mine, head = build()
    matrices = [mine[1].weight, mine[4].weight, head.weight]
    others = [mine[1].bias, mine[2].weight, mine[2].bias, mine[4].bias, head.offset]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=12, pct_start=0.2)
    means = []
    for epoch in range(1, epochs + 1):
        values = []
        for index in plan[epoch]:
            value = head(mine(data.images[index] / 127.5 - 1), data.labels[index])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step() if (epoch, len(values)) != (3, 3) else None
            values.append(value.item())
        means.append(sum(values) / 4)
    for key, value in state(net, loss).items():
        torch.testing.assert_close(value, state(mine, head)[key], rtol=1e-5, atol=1e-6)
    assert [r["loss"] for r in records] == pytest.approx(means, rel=1e-5)
    assert [(r["epoch"], r["steps"]) for r in records] == [(1, 4), (2, 4), (3, 4)]
    assert means[-1] < means[0]


class PlainFaces(Plain):
    """Pixels turned to numbers in the plainest way."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.data.images[index] / 127.5 - 1, int(self.data.labels[index])


def plain_shift_and_gain(images: Tensor, generator: torch.Generator) -> Tensor:
    """ShiftAndGain() image by image: a slice of a padded image, times its gain."""
    b, _, h, w = images.shape
    shifts = torch.randint(-2, 3, (2, b, 1), generator=generator).view(2, b).T + 2
    gains = 1 + 0.1 * (2 * torch.rand(b, 1, 1, 1, generator=generator) - 1)
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    moved = [x[:, dy : dy + h, dx : dx + w] for x, (dy, dx) in zip(padded, shifts.tolist(), strict=True)]
    return (torch.stack(moved) * gains + (gains - 1)).contiguous(memory_format=torch.channels_last)


def test_a_training_has_the_bits_of_plain_torch() -> None:
    faces = image_set(64, 32, 3)
    found = []
    for data, augment, pool in [
        (faces, ShiftAndGain(), None),
        (PlainFaces(faces), plain_shift_and_gain, nn.AdaptiveAvgPool2d(4)),
    ]:
        training.seed_everything(0)
        net, loss = SmallFaceNet(16), Head(16)
        if pool is not None:
            assert isinstance(net.layers[4], nn.AdaptiveAvgPool2d)
            net.layers[4] = pool
        records = fit(net, loss, data, epochs=2, batch_size=16, augment=augment, device="cpu")
        found.append((state(net, loss), [r["loss"] for r in records]))
    (ours, losses), (plain, expected) = found
    assert losses == expected
    assert_same(ours, plain)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about the allocator of glibc")
def test_freed_memory_is_kept() -> None:
    """Pages that the system has to clear in 20 rounds of making 16 MB of tensors: thousands, then hardly any."""
    code = (
        "import resource, torch\n"
        "from facelearn.training import _keep_freed_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(20): [torch.ones(2**19) for _ in range(8)]\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "first = faults()\n"
        "_keep_freed_memory()\n"
        "faults()\n"
        "print(first, faults())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 10


@pytest.mark.parametrize("total", [7, 10, 141])
def test_one_cycle_is_the_schedule_of_torch(total: int) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=total, pct_start=0.2)
    for step in range(total):
        share, beta1 = one_cycle(step, total)
        group = optimizer.param_groups[0]
        assert (0.3 * share, beta1) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-9)
        optimizer.step()
        if step < total - 1:
            schedule.step()


@pytest.mark.parametrize("total", [1, 2, 3, 5])
def test_one_cycle_of_few_steps_begins_at_the_peak(total: int) -> None:
    shares = [one_cycle(step, total)[0] for step in range(total)]
    assert shares[0] == max(shares) == 1
    assert all(0 < share <= 1 for share in shares)


def test_weight_decay_spares_what_modules_name() -> None:
    net, loss = build()
    decayed, spared = parameter_groups(net, loss, 0.1)
    assert {id(p) for p in decayed["params"]} == {id(p) for p in (net[1].weight, net[4].weight, loss.weight)}
    assert {id(p) for p in spared["params"]} == {
        id(p) for p in (net[1].bias, net[2].weight, net[2].bias, net[4].bias, loss.offset)
    }
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0)


def test_weight_decay_with_nested_frozen_and_shared_parameters() -> None:
    net, loss = build()
    net[1].requires_grad_(False)
    wrapped = nn.ModuleList([loss, net])  # the loss holds the net too
    groups = parameter_groups(net, wrapped, 0.1)
    everything = [id(p) for g in groups for p in g["params"]]
    assert len(everything) == len(set(everything)) == 6
    assert id(loss.offset) in {id(p) for p in groups[1]["params"]}
    with pytest.raises(ValueError, match="nothing to train"):
        parameter_groups(nn.Identity(), nn.Identity(), 0.1)
    loss.no_weight_decay = ("ofset",)
    with pytest.raises(ValueError, match="Head names 'ofset'"):
        parameter_groups(net, loss, 0.1)


def test_a_dataset_without_tensors_trains_the_same() -> None:
    data = image_set()
    results = []
    for source in (data, Plain(data), TensorDataset(data.images, data.labels)):
        net, loss = build(dropout=0.2)
        fit(net, loss, source, epochs=2, batch_size=16, augment=ShiftAndGain(1), device="cpu")
        results.append(state(net, loss))
        assert torch.equal(embed(net, source, 7), embed(net, data, 7))
        assert accuracy(net, loss, source) == accuracy(net, loss, data)
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_used_is_one_line_with_its_file(workers: int, tmp_path: Path) -> None:
    data, root = image_set(), tmp_path / "faces"
    for k, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        (root / f"p{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(root / f"p{label}" / f"{k:02d}.png")
    spoilt = root / "p1" / "33.png"
    whole = spoilt.read_bytes()
    for spoil, told in (
        (lambda: spoilt.write_bytes(whole[:60]), "expected a whole image"),
        (
            lambda: Image.new("L", (9, 9)).save(spoilt),
            "found 9x9 pixels .* expected 8x8 like the first image; give size=",
        ),
    ):
        spoil()
        with pytest.raises(ValueError, match=told) as caught:
            fit(*build(), ImageFolder(root, channels=1), epochs=1, batch_size=16, device="cpu", workers=workers)
        assert str(caught.value).startswith(f"{spoilt}: found ")
        assert "\n" not in str(caught.value)


def test_images_of_several_shapes_are_told() -> None:
    mixed = TensorDataset(torch.rand(8, 1, 8, 8), torch.arange(8) % 4)
    several = [*(mixed[i] for i in range(7)), (torch.rand(1, 9, 8), torch.tensor(3))]
    with pytest.raises(
        ValueError, match=r"data: found shapes \(1, .*\) as image \d and \(1, .*; expected images of one"
    ):
        fit(*build(), several, epochs=1, batch_size=8, device="cpu")


def test_loader_processes_give_the_same_batches() -> None:
    results = []
    for workers in (0, 2):
        net, loss = build()
        fit(net, loss, Plain(image_set()), epochs=1, batch_size=16, workers=workers, device="cpu")
        results.append(state(net, loss))
    assert_same(*results)


def test_default_batches_are_shuffled_whole_and_keyed_by_seed_and_epoch() -> None:
    seen: list[Tensor] = []

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1, 1))

        def forward(self, images: Tensor) -> Tensor:
            seen.append(((images[:, 0, 0, 0] + 1) * 127.5).round().long())
            return images.flatten(1)[:, :1] * self.w

    numbered = ImageSet(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.zeros(50, dtype=torch.long))

    class Sum(nn.Module):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            return embeddings.sum()

    for seed in (1, 1, 2):
        fit(Watch(), Sum(), numbered, epochs=2, batch_size=16, seed=seed, device="cpu")
    epochs = [torch.cat(seen[i : i + 3]) for i in range(0, len(seen), 3)]  # 3 batches of 16 of 50
    assert len(epochs) == 6
    assert all(len(e.unique()) == 48 for e in epochs)
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[1], epochs[3])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[4])


def test_augmentation_draws_anew_in_every_epoch_and_by_seed() -> None:
    drawn: list[float] = []

    def augment(images: Tensor, generator: torch.Generator) -> Tensor:
        drawn.append(torch.rand((), generator=generator).item())
        return images

    for seed in (0, 0, 1):
        net, loss = build()
        fit(net, loss, image_set(), epochs=3, batch_size=16, seed=seed, augment=augment, device="cpu")
    first, same, other = drawn[:12], drawn[12:24], drawn[24:]
    assert first == same
    assert len({*first, *other}) == 24


def test_the_global_random_state_is_neither_used_nor_moved() -> None:
    results = []
    for seed in (1, 2):
        net, loss = build(dropout=0.5, noise=0.1)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        fit(net, loss, image_set(), epochs=2, batch_size=16, augment=ShiftAndGain(1), device="cpu")
        assert torch.equal(torch.get_rng_state(), before)
        results.append(state(net, loss))
    assert_same(*results)


def test_hooks_come_at_every_step_and_epoch() -> None:
    net, loss = build()
    steps: list[tuple[int, int]] = []
    told: list[int] = []

    def on_epoch(epoch: int, record: dict[str, Any]) -> None:
        told.append(epoch)
        embed(net, image_set())
        net.eval()
        record["extra"] = epoch**2

    records = fit(net, loss, image_set(), epochs=3, batch_size=20, device="cpu",
                  on_step=lambda step, total: steps.append((step, total)), on_epoch=on_epoch)  # fmt: skip
    assert steps == [(i, 9) for i in range(9)]
    assert told == [1, 2, 3]
    assert [r["extra"] for r in records] == [1, 4, 9]
    assert net[2].num_batches_tracked == 9  # back in training mode each epoch


@pytest.mark.parametrize("amp", [True, "bf16", "fp16"])
def test_half_precision_reaches_the_net_and_not_the_loss(amp: bool | str) -> None:
    inside: set[torch.dtype] = set()
    outside: set[torch.dtype] = set()
    net, loss = build()
    net[1].register_forward_hook(lambda m, x, y: inside.add(y.dtype))
    loss.register_forward_pre_hook(lambda m, x: outside.add(x[0].dtype))
    records = fit(net, loss, image_set(), epochs=8, batch_size=16, lr=2e-2, amp=amp, device="cpu")
    assert inside == {torch.float16 if amp == "fp16" else torch.bfloat16}
    assert outside == {torch.float32}
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]


# ---- interruption


class Killed(Exception):
    pass


def resumable(path: Path | None, kill: dict[str, int] | None = None) -> tuple[list[dict[str, Any]], Any, dict]:
    """Four epochs of four steps with all there is to forget; `kill` raises at a step or at the end of an epoch."""
    training.seed_everything(len(str(kill)))  # start weights differ: all must come from the file
    net = nn.Sequential(SmallFaceNet(3, width=2), nn.Dropout(0.3))
    loss = Head(3, margin=0.0, noise=0.1)
    if path is None or not path.exists():
        training.seed_everything(7)
        for p in (*net.parameters(), *loss.parameters()):
            nn.init.normal_(p, std=0.3)

    def on_step(step: int, total: int) -> None:
        assert total == 16
        loss.margin = min(1.0, step / 9)
        if step == 5:  # set once, remembered ever after
            loss.weights = (1.0, 0.03)
        if kill and kill.get("step") == step:
            raise Killed

    def on_epoch(epoch: int, record: dict[str, Any]) -> None:
        record["norm"] = loss.mean_norm.clone()
        if kill and kill.get("epoch") == epoch:
            raise Killed

    records = fit(net, loss, image_set(size=32, channels=3), epochs=4, augment=ShiftAndGain(), batches=PKBatches(4, 4),
                  on_step=on_step, on_epoch=on_epoch, checkpoint=path, device="cpu")  # fmt: skip
    return records, (loss.margin, loss.weights, loss.generator.get_state()), state(net, loss)


@pytest.mark.parametrize(
    "kills", [[{"step": 8}], [{"step": 10}], [{"epoch": 3}], [{"step": 2}], [{"step": 6}, {"epoch": 2}]]
)
def test_resumed_training_is_the_same_bit_for_bit(kills: list[dict[str, int]], tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    straight_records, straight_settings, straight = resumable(None)
    for kill in kills:
        with pytest.raises(Killed):
            resumable(path, kill)
    records, settings, resumed = resumable(path)
    assert_same(resumed, straight)
    assert settings[:2] == straight_settings[:2] == (1.0, (1.0, 0.03))
    assert torch.equal(settings[2], straight_settings[2])
    plain = [{k: float(v) for k, v in r.items()} for r in without_seconds(records)]
    assert plain == [{k: float(v) for k, v in r.items()} for r in without_seconds(straight_records)]
    assert [p.name for p in path.parent.iterdir()] == ["run.safetensors"]


def test_interrupted_fp16_keeps_its_loss_scale(tmp_path: Path) -> None:
    def run(path: Path | None, stop: bool) -> dict[str, Tensor]:
        net, loss = build()

        def on_step(step: int, total: int) -> None:
            if stop and step == 9:
                raise Killed

        fit(net, loss, image_set(), epochs=3, batch_size=16, amp="fp16", checkpoint=path, on_step=on_step, device="cpu")
        return state(net, loss)

    with pytest.raises(Killed):
        run(tmp_path / "a", True)
    assert_same(run(tmp_path / "a", False), run(None, False))


def test_a_finished_training_is_read_not_repeated(tmp_path: Path) -> None:
    def run(seed: int, on_step: Callable[[int, int], None] | None = None) -> tuple[list, dict]:
        net, loss = build(seed)
        return fit(net, loss, image_set(), epochs=2, batch_size=16, checkpoint=tmp_path / "c", on_step=on_step,
                   device="cpu"), state(net, loss)  # fmt: skip

    first, weights = run(0)
    again, read = run(1, lambda step, total: pytest.fail("trained again"))
    assert again == first
    assert_same(read, weights)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    net, loss = build()
    fit(net, loss, image_set(), epochs=1, batch_size=16, checkpoint=tmp_path / "c.safetensors", device="cpu")
    return tmp_path / "c.safetensors"


def again(
    path: Path, net: nn.Module | None = None, loss: nn.Module | None = None, data: Any = None, **changed: Any
) -> None:
    built = build()
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 16, "device": "cpu"} | changed
    fit(net or built[0], loss or built[1], data or image_set(), checkpoint=path, **settings)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"lr": 1e-2}, r"lr: 0.004 there, 0.01 here"),
        ({"epochs": 2}, "epochs: 1 there, 2 here"),
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"amp": "bf16"}, "amp: None there, torch.bfloat16 here"),
        ({"augment": ShiftAndGain(1)}, r"augment: None there, ShiftAndGain\(pixels=1, gain=0.1\) here"),
        ({"batches": PKBatches(4, 4)}, "batches: None there, PKBatches"),
        ({"loss": Head(3, margin=0.5)}, "loss.margin: 0.0 there, 0.5 here"),
        ({"net": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))}, "net.1.out_features: 6 there, 3 here"),
        ({"net": small_net(dropout=0.1)}, "net.3.p: 0.0 there, 0.1 here"),
        ({"data": image_set(seed=1)}, "data images"),
        ({"data": ImageSet(image_set().images, image_set().labels.flip(0))}, "data labels"),
        ({"data": image_set(n=32)}, "data: 64 there, 32 here"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(finished: Path, changed: dict[str, Any], match: str) -> None:
    again(finished)
    with pytest.raises(ValueError, match=match) as caught:
        again(finished, **changed)
    assert str(finished) in str(caught.value)


@pytest.mark.parametrize("change", ["renamed", "another file", "another picture", "another size", "moved"])
def test_people_on_disk_who_are_others_than_before_are_noticed(tmp_path: Path, change: str) -> None:
    """Labels count the names in order: one folder renamed, and every class weight belongs to somebody else."""
    data, root = image_set(), tmp_path / "faces"
    for k, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        (root / f"person {label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(root / f"person {label}" / f"{k}.png")
    again(tmp_path / "c", data=ImageFolder(root, channels=1))
    if change == "renamed":
        (root / "person 0").rename(root / "somebody")
    elif change == "another file":
        (root / "person 0" / "0.png").rename(root / "person 0" / "99.png")
    elif change == "another picture":
        Image.new("L", (8, 8)).save(root / "person 0" / "0.png")
    elif change == "moved":
        root = root.rename(tmp_path / "elsewhere")
        again(tmp_path / "c", data=ImageFolder(root, channels=1))
        return
    size, told = (8, "data size") if change == "another size" else (None, "data names|data files|data lengths")
    with pytest.raises(ValueError, match=f"written with other settings .*({told})"):
        again(tmp_path / "c", data=ImageFolder(root, channels=1, size=size))


class Two(nn.Module):
    """As the nets of AdaFace and others: embeddings, and their lengths."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Any:
        found = self.net(images)
        return found, found.norm(dim=1)


@pytest.mark.parametrize(
    ("shape", "told"),
    [(Two, "a tuple"), (lambda net: nn.Sequential(net, nn.Unflatten(1, (3, 1))), r"shape \(\d+, 3, 1\)")],
)
def test_a_net_that_gives_something_else_than_embeddings_is_told(shape: Any, told: str) -> None:
    net, loss = build()
    for act in (
        lambda: fit(shape(net), loss, image_set(), epochs=1, batch_size=64),
        lambda: embed(shape(net), image_set()),
    ):
        with pytest.raises(ValueError, match=rf"net: returned {told}; expected embeddings \(64, d\)"):
            act()


@pytest.mark.parametrize("damage", ["empty", "short", "header", "flipped", "metadata", "noise"])
def test_a_damaged_checkpoint_is_refused_by_name(finished: Path, damage: str) -> None:
    content = finished.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    middle = (header + len(content)) // 2
    finished.write_bytes(
        {
            "empty": b"",
            "short": content[:-10],
            "header": content[: header // 2],
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "metadata": content.replace(b"epochs", b"epochz"),
            "noise": np.random.default_rng(0).bytes(5000),
        }[damage]
    )
    with pytest.raises(ValueError, match="damaged") as caught:
        again(finished)
    assert str(finished) in str(caught.value)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other")
    with pytest.raises(ValueError, match="not written by fit"):
        again(tmp_path / "other")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    contents: list[bytes] = []

    def full_disk(fd: int) -> None:
        raise OSError(28, "No space left on device")

    def on_epoch(epoch: int, record: dict[str, Any]) -> None:
        if epoch == 2:
            contents.append(path.read_bytes())
            monkeypatch.setattr(os, "fsync", full_disk)

    with pytest.raises(OSError, match="No space left"):
        again(path, epochs=3, on_epoch=on_epoch)
    assert path.read_bytes() == contents[0]
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_an_unwritable_checkpoint_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "c", tmp_path, tmp_path / "none" / "c"):
        told = "checkpoint=.*none/c: found no folder" if path.parent.name == "none" else "checkpoint: cannot be written"
        with pytest.raises(OSError, match=told) as caught:
            again(path, on_step=lambda step, total: pytest.fail("trained"))
        assert str(path) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told_before_training(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="checkpoint: cannot be written"):
            again(tmp_path / "c", on_step=lambda step, total: pytest.fail("trained"))
    finally:
        tmp_path.chmod(0o700)


# ---- what breaks


class BreaksAt(Head):
    def __init__(self, call: int, value: float) -> None:
        super().__init__(3)
        self.calls, self.call, self.value = -1, call, value

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        if math.isnan(self.value) and self.calls == self.call:
            embeddings = embeddings * math.nan
        if not embeddings.isfinite().all():
            return embeddings.sum()
        normal = super().forward(embeddings, labels)
        return normal * self.value if self.calls == self.call else normal


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(value: float) -> None:
    training.seed_everything(0)
    net, loss = small_net(), BreaksAt(6, value)
    last: list[dict[str, Tensor]] = []
    losses: list[dict[str, Any]] = []
    with pytest.raises(FloatingPointError) as caught:
        fit(net, loss, image_set(), epochs=3, batch_size=16, device="cpu", on_epoch=lambda e, r: losses.append(r),
            on_step=lambda step, total: last.append({k: p.clone() for k, p in net.named_parameters()}))  # fmt: skip
    message = str(caught.value)
    assert f"the loss is {value} at step 6 (batch 2 of epoch 2)" in message
    assert "last finite loss: " in message
    assert 0 < float(message.split("last finite loss: ")[1].split(". ")[0]) < 5
    assert "lr too high" in message
    assert (Path(__file__).parents[1] / message.split("More: ")[1]).is_file()
    assert len(losses) == 1
    assert_same(dict(net.named_parameters()), last[6])


def test_the_first_step_and_the_first_of_an_epoch_name_what_they_can() -> None:
    for call, expected in ((0, "last finite loss: none"), (4, "(mean of epoch 1)")):
        with pytest.raises(FloatingPointError) as caught:
            fit(small_net(), BreaksAt(call, math.inf), image_set(), epochs=3, batch_size=16, device="cpu")
        assert expected in str(caught.value)


def test_a_loss_that_refuses_nan_embeddings_gets_the_same_message() -> None:
    class Strict(Head):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            if not embeddings.isfinite().all():
                raise ValueError("embeddings holds NaN")
            if labels.max() > 2:
                raise ValueError("labels too high")
            return super().forward(embeddings, labels)

    net = small_net()
    nn.init.constant_(net[4].weight, math.nan)
    with pytest.raises(FloatingPointError, match="embeddings are not finite at step 0"):
        fit(net, Strict(3), image_set(), epochs=1, batch_size=16, device="cpu")
    with pytest.raises(ValueError, match="labels too high"):  # its other complaints pass unchanged
        fit(small_net(), Strict(3), image_set(), epochs=1, batch_size=16, device="cpu")


def test_a_learning_rate_far_too_high_is_caught() -> None:
    net, loss = build()
    with pytest.raises(FloatingPointError, match="lr too high"):
        fit(net, loss, image_set(), epochs=5, batch_size=16, lr=1e30, device="cpu")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epochs": 0}, "epochs: 0"),
        ({"epochs": 1.5}, "epochs: 1.5"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"batch_size": 65}, "batch_size: 65; but data has only 64 images"),
        ({"lr": 0.0}, "lr: 0.0"),
        ({"lr": math.nan}, "lr: nan"),
        ({"weight_decay": -1.0}, "weight_decay: -1.0"),
        ({"seed": -1}, "seed: -1"),
        ({"amp": "int8"}, "amp: 'int8'"),
        ({"data": iter([])}, "data: list_iterator"),
        ({"data": []}, "data: list is empty"),
        ({"data": Plain(image_set()), "batches": PKBatches(2, 2)}, r"data: Plain has no tensor .labels"),
        ({"batches": lambda labels, epoch, g: []}, "gave no batch"),
        ({"batches": lambda labels, epoch, g: [torch.tensor([3, 64])]}, "gave indices 3 to 64; data has 0 to 63"),
        ({"batches": lambda labels, epoch, g: [torch.arange(8)] * epoch}, "batches: 2 in epoch 2, 1 before"),
        ({"loss": nn.CrossEntropyLoss(reduction="none")}, r"loss: returned shape \(16,\)"),
    ],
)
def test_bad_input_is_named(settings: dict[str, Any], match: str) -> None:
    net, loss = build()
    arguments: dict[str, Any] = {"loss": loss, "data": image_set(), "epochs": 2, "batch_size": 16} | settings
    if isinstance(arguments["loss"], nn.CrossEntropyLoss):
        net = nn.Sequential(net, nn.Linear(3, CLASSES))
    with pytest.raises(ValueError, match=match):
        fit(net, device="cpu", **arguments)


def test_labels_beyond_the_classes_of_the_loss_are_told_before_training() -> None:
    net, loss = build()
    loss.num_classes = 3
    with pytest.raises(ValueError, match="labels: 0 to 3; Head expects 0 to 2"):
        fit(net, loss, image_set(), epochs=1, batch_size=16, on_step=lambda step, total: pytest.fail("trained"))


# ---- embed, accuracy, augmentation, small helpers


def test_embed_is_the_net_in_eval_mode_and_leaves_the_modes_as_they_were() -> None:
    data = image_set(50)
    net, _ = build(dropout=0.5)
    net(to_float(data.images))  # moves the running statistics off their start
    net.train()
    net[2].eval()
    found = embed(net, data, batch_size=16)
    assert [m.training for m in net] == [True, True, False, True, True]
    net.eval()
    expected = net(data.images / 127.5 - 1).detach()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (found.dtype, found.device.type, found.requires_grad) == (torch.float32, "cpu", False)
    assert torch.equal(embed(net, data.images, batch_size=16), found)  # images alone will do
    assert embed(net.double(), to_float(data.images).double()).dtype == torch.float32
    for bad, match in (([], "data: list is empty"), (data, "batch_size: 0")):
        with pytest.raises(ValueError, match=match):
            embed(net, bad, batch_size=0 if bad is data else 4)


def test_embed_restores_the_modes_after_an_error() -> None:
    net, _ = build()
    with pytest.raises(RuntimeError):
        embed(net, torch.rand(4, 1, 3, 3))
    assert net.training


def test_accuracy_counts_the_largest_logit() -> None:
    data = image_set(40)
    flat = nn.Flatten()
    head = Head(64)
    scores = (data.images.flatten(1) / 127.5 - 1) @ head.weight.T
    expected = sum(int(s.argmax()) == int(y) for s, y in zip(scores, data.labels, strict=True)) / 40
    assert accuracy(flat, head, data, batch_size=7) == pytest.approx(expected)
    with pytest.raises(ValueError, match="Identity has no logits"):
        accuracy(flat, nn.Identity(), data)
    with pytest.raises(ValueError, match="data: Tensor has no labels"):
        accuracy(flat, head, data.images)


def test_shift_and_gain_against_padding_and_slicing() -> None:
    images = torch.rand(200, 3, 9, 7) * 2 - 1
    moved = ShiftAndGain(2, 0.1)(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    shifts, gains = set(), []
    for before, after in zip(padded, moved.numpy(), strict=True):
        fits = []
        for dy in range(5):
            for dx in range(5):
                window = before[:, dy : dy + 9, dx : dx + 7] + 1
                gain = ((after + 1) * window).sum() / (window * window).sum()  # least squares
                if np.allclose(window * gain, after + 1, atol=1e-5):
                    fits.append((dy, dx, gain))
        assert len(fits) == 1
        shifts.add(fits[0][:2])
        gains.append(fits[0][2])
    assert len(shifts) == 25
    assert 0.9 <= min(gains) < 0.92 < 1.08 < max(gains) <= 1.1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shift_and_gain_has_the_bits_of_slices(channels: int, layout: torch.memory_format) -> None:
    images = (torch.rand(50, channels, 9, 7) * 2 - 1).contiguous(memory_format=layout)
    moved = ShiftAndGain()(images, torch.Generator().manual_seed(0))
    assert torch.equal(moved, plain_shift_and_gain(images, torch.Generator().manual_seed(0)))
    assert moved.stride() == (9 * 7 * channels, 1, 7 * channels, channels)  # decides which convolution torch takes


def test_shift_and_gain_follows_its_generator_and_can_do_nothing() -> None:
    images = torch.rand(8, 1, 6, 6)
    first, same, other = (ShiftAndGain()(images, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    torch.testing.assert_close(ShiftAndGain(0, 0.0)(images, torch.Generator()), images)
    assert training.shift_and_gain(1, 0.2) == ShiftAndGain(pixels=1, gain=0.2)
    for bad in ({"pixels": -1}, {"gain": 1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ShiftAndGain(**bad)


def test_seed_everything() -> None:
    draws = []
    for seed in (5, 5, 6):
        training.seed_everything(seed)
        draws.append((random.random(), np.random.rand(), torch.rand(()).item()))  # noqa: NPY002
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[0], draws[2], strict=True))
    with pytest.raises(ValueError, match="seed: -1"):
        training.seed_everything(-1)


def test_when_progress_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = False
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    for name in ("FACELEARN_PROGRESS", "JPY_SESSION_NAME", "PYTEST_VERSION"):
        monkeypatch.delenv(name, raising=False)
    assert not show_progress()  # a log file, a notebook that is executed
    assert show_progress(True)
    monkeypatch.setenv("JPY_SESSION_NAME", "course/en/12_arcface.ipynb")
    assert show_progress()  # a person in JupyterLab
    monkeypatch.setenv("PYTEST_VERSION", "9")
    assert not show_progress()
    monkeypatch.setenv("FACELEARN_PROGRESS", "1")
    assert show_progress()
    assert not show_progress(False)
    monkeypatch.setenv("FACELEARN_PROGRESS", "yes")
    with pytest.raises(ValueError, match="FACELEARN_PROGRESS: 'yes'"):
        show_progress()
    for name in ("FACELEARN_PROGRESS", "JPY_SESSION_NAME", "PYTEST_VERSION"):
        monkeypatch.delenv(name)
    terminal = True
    assert show_progress()


@pytest.mark.parametrize("progress", [True, False])
def test_the_bar_goes_to_stderr_or_nowhere(progress: bool, capsys: pytest.CaptureFixture[str]) -> None:
    net, loss = build()
    fit(net, loss, image_set(), epochs=2, batch_size=16, device="cpu", progress=progress)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("epoch 2/2" in captured.err) == progress
