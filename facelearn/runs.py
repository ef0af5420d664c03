"""Trainings that live in a folder: what the command line does, as functions.

    settings = Settings(loss="arcface:scale=8,margin=0.6", epochs=8)
    train("runs/arcface", settings)          # or goes on where it was stopped
    net = load("runs/arcface")               # an nn.Module, ready to embed

A run folder holds `config.json` (every setting, and the versions it was begun with), `people.json` (who class 0, 1, ...
is, where the set knows names), `metrics.csv` and `metrics.json`
(a row per epoch), `checkpoint.safetensors` (to resume from), `model.safetensors` (the trained net), `figures/`, and
`evaluation_<set>.json` for each set it was measured on. Each file is written whole or not at all.

Losses are named as `facelearn.recipe` says.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import facelearn
from facelearn import distributed
from facelearn.checkpoint import Record
from facelearn.data.named import make_data, strangers
from facelearn.data.samplers import PKBatches
from facelearn.files import check_folder, write_json, write_whole
from facelearn.measuring import evaluate, numbers, write_evaluation
from facelearn.models import net_from
from facelearn.nets import load_net, save_net
from facelearn.recipe import Recipe
from facelearn.starting import PEOPLE, Start, listed
from facelearn.training import Augment, Mirror, ShiftAndGain, best_device, embed, fit, seed_everything
from facelearn.verification import evaluate_all_pairs

NETS = ("small", "digit", "iresnet18", "iresnet34", "iresnet50", "iresnet100", "iresnet200")


@dataclass(frozen=True)
class Settings:
    """Everything that decides the numbers of a run."""

    loss: str = "arcface:scale=8,margin=0.6"
    data: str = "synthetic"
    size: int | None = None
    net: str = "small"
    dim: int = 64
    width: int = 8
    norm: str = "batch"
    epochs: int = 8
    batch_size: int = 128
    lr: float = 4e-3
    weight_decay: float = 5e-4
    seed: int = 0
    pk: tuple[int, int] | None = None
    small: str = "error"
    augment: bool = True
    mirror: bool = False
    amp: str = "off"
    float64: bool = False
    channels_last: bool = False
    class_parallel: bool = False
    eval_every: int = 1
    start: str | None = None

    @property
    def recipe(self) -> Recipe:
        return Recipe.parse(self.loss, self.pk, self.batch_size)

    @property
    def batches(self) -> PKBatches | None:
        batches = self.recipe.batches
        return batches and dataclasses.replace(batches, small=self.small)

    @property
    def augmentation(self) -> Augment | None:
        moved = ShiftAndGain() if self.augment else None
        return Mirror(moved) if self.mirror else moved

    @classmethod
    def of(cls, values: dict[str, Any]) -> Settings:
        """From JSON. ValueError for a name that is no setting, or a value of another kind."""
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - set(defaults)):
            version = f"expected those of facelearn {facelearn.__version__}"
            raise ValueError(f"settings: found {', '.join(unknown)}; {version}")
        for name, value in values.items():
            if not _like(value, name, defaults[name]):
                raise ValueError(f"settings: {name} {value!r}; expected a value like {defaults[name]!r}")
        return cls(**values | ({"pk": tuple(values["pk"])} if values.get("pk") else {}))


def _like(value: Any, name: str, default: Any) -> bool:
    """Is this a value of the setting's kind, as JSON has it?"""
    if name == "size":
        return value is None or type(value) is int
    if name == "start":
        return value is None or type(value) is str
    if name == "pk":
        return value is None or (isinstance(value, list | tuple) and [type(x) for x in value] == [int, int])
    return type(value) is type(default) or (type(default) is float and type(value) is int)


def told(data: Any, batches: PKBatches | None) -> str:
    """What is trained on, in a few lines: images, people, what was passed over, and who has too few images.

    ValueError where people have fewer images than the batches want of each and `small` does not say what then.
    """
    labels = torch.as_tensor(data.labels)
    classes, sizes = labels.unique(return_counts=True)
    each = f"{int(sizes.min())}" + (f" to {int(sizes.max())}" if sizes.min() < sizes.max() else "")
    lines = [f"{len(labels):,} images of {len(classes):,} people, {each} of each"]
    if gaps := int(labels.max()) + 1 - len(classes):
        lines[0] += f"; {gaps:,} classes without an image"
    if others := getattr(data, "passed_over", ()):
        lines.append(f"passed over: {listed(others)}")
    wanted = batches.images_per_identity if batches else 0
    few = torch.stack([classes, sizes], 1)[sizes < wanted].tolist()
    if batches and few:
        names = getattr(data, "names", None)
        who = listed([f"{names[c] if names else f'person {c}'} ({n})" for c, n in few])
        if batches.small == "error":
            expected = "expected --small repeat or --small drop, or fewer of each in --pk"
            raise ValueError(f"pk: {wanted} images of each person; {len(few):,} have fewer: {who}; {expected}")
        left = [n for _, n in few if batches.small == "drop" or n == 1]
        lines.append(f"fewer than {wanted} images: {who}; {len(left):,} left out, {len(few) - len(left):,} repeated")
    return "\n".join(lines)


def net_words(settings: Settings, channels: int, size: int) -> dict[str, Any]:
    """What builds the net again, as plain values."""
    if settings.net not in NETS:
        raise ValueError(f"net: {settings.net!r}; expected one of {', '.join(NETS)}")
    if settings.net == "digit":
        return {"net": "digit", "embedding_dim": settings.dim, "batchnorm": settings.norm == "batch"}
    common = {"embedding_dim": settings.dim, "channels": channels, "norm": settings.norm}
    if settings.net == "small":
        return {"net": "small", **common, "width": settings.width}
    return {"net": "iresnet", "depth": int(settings.net.removeprefix("iresnet")), **common, "size": size}


# ---- a run ----------------------------------------------------------------------------------------------------------


def train(
    folder: str | os.PathLike[str],
    settings: Settings,
    *,
    progress: bool | None = None,
    workers: int = 0,
    device: str | torch.device | None = None,
    say: Callable[[str], None] = print,
) -> list[Record]:
    """Train in `folder`, or go on with what is there; returns one record per epoch.

    On several processes (see `facelearn.distributed`) all call this, and the first writes. ValueError where the folder
    holds a run of other settings or something else, and for settings that cannot work; then no new folder is left.
    device: as for `fit`, which decides the last digits of the numbers and is no setting.
    """
    device = best_device(device)
    if settings.eval_every < 0:
        raise ValueError(f"eval_every: {settings.eval_every}; expected 0 (never) or more epochs")
    run, first = Path(folder), distributed.rank() == 0
    begun = distributed.together(lambda: _begun(run, settings))
    start = Start.read(settings.start) if settings.start and not begun else None
    data = make_data(settings.data, settings.size)
    classes = int(torch.as_tensor(data.labels).max()) + 1
    channels, height, width = data[0][0].shape
    seed_everything(settings.seed)
    words = net_words(settings, channels, height)
    if height != width:
        raise ValueError(f"data: images of {height} x {width} pixels; expected square ones")
    net = net_from(words)
    loss, on_step = settings.recipe.build(settings.dim, classes, **_group(settings))
    if settings.class_parallel and not distributed.Ranks(net, loss).shards:
        raise ValueError(f"class_parallel: {settings.loss} has no class weights to share out; expected an angular head")
    if settings.float64:
        net.double(), loss.double()
    names = getattr(data, "names", None)
    if start:
        start.into_net(net)
        known = start.into_loss(loss, classes, names, settings.data)
    batches, augment = settings.batches, settings.augmentation
    seen = told(data, batches)
    if first:
        say(seen)
    if start and first:
        rows_of = f"class weights of {known:,} of {classes:,} people" if known is not None else "no class weights"
        say(f"from {start.path}: the net, and {rows_of}")
    amp = _amp(settings.amp)
    tune = strangers(settings.data, "tune") if settings.eval_every and first else None
    rows: list[Record] = _rows(run)

    def on_epoch(epoch: int, record: Record) -> None:
        if not first:
            return
        if tune is not None and (epoch % settings.eval_every == 0 or epoch == settings.epochs):
            record["tune_eer"] = evaluate_all_pairs(embed(net, tune), tune.labels).eer
        rows[:] = [row for row in rows if row["epoch"] < epoch] + [record]
        _write_metrics(run, rows)
        eer = f"   EER of strangers {record['tune_eer']:.2%}" if "tune_eer" in record else ""
        say(f"epoch {epoch}/{settings.epochs}   loss {record['loss']:.4f}{eer}   {record['seconds']:.1f} s")

    if first:
        run.mkdir(parents=True, exist_ok=True)
        if not begun:
            begin = {"settings": dataclasses.asdict(settings), "begun_with": versions()}
            write_json(run / "config.json", begin)
            if names:
                write_json(run / PEOPLE, names)
    try:
        records = fit(
            net, loss, data, epochs=settings.epochs, batch_size=settings.batch_size, lr=settings.lr,
            weight_decay=settings.weight_decay, seed=settings.seed, augment=augment, batches=batches,
            on_step=on_step, on_epoch=on_epoch, amp=amp, channels_last=settings.channels_last,
            checkpoint=run / "checkpoint.safetensors", progress=progress, workers=workers,
            device=device,
        )  # fmt: skip
    except BaseException:
        if first and not begun and not (run / "checkpoint.safetensors").exists():
            _leave_nothing(run)
        raise

    def finish() -> None:
        _write_metrics(run, records)
        more = {"settings": dataclasses.asdict(settings), "image_size": height}
        save_net(run / "model.safetensors", net, words, more)
        _draw_losses(run, records, settings)
        if tune is not None and not (run / "evaluation_open.json").exists():
            result = evaluate(net, strangers(settings.data, "open"), device=device)
            path = write_evaluation(run, "open", result, numbers(result, resamples=0))
            say(f"EER on people of the split open: {result.eer:.2%}; more in {path}")

    distributed.together(finish)  # no rank goes on to what is not written yet
    return records


def _begun(run: Path, settings: Settings) -> bool:
    """Is a run of these settings in the folder already? ValueError if something else is, OSError if none can be.

    What a kill within the very first write leaves behind, an unfinished config.json, counts as nothing.
    """
    if not run.exists() or (run.is_dir() and all(path.name.startswith(".config.json.") for path in run.iterdir())):
        check_folder(run, "run")
        return False
    stored = dataclasses.asdict(config(run))
    wanted = dataclasses.asdict(settings)
    differ = [f"{name}: {stored[name]} there, {wanted[name]} here" for name in wanted if stored[name] != wanted[name]]
    if differ:
        raise ValueError(f"run: {run} holds a run of other settings ({'; '.join(differ)}); expected another folder")
    return True


def config(folder: str | os.PathLike[str]) -> Settings:
    """The settings of the run in a folder."""
    path = Path(folder) / "config.json"
    try:
        return Settings.of(json.loads(path.read_text(encoding="utf-8"))["settings"])
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"run: {folder} holds no config.json; expected the folder of a run") from None
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"run: {path} is damaged ({error!r}); expected the settings of a run") from error


def _group(settings: Settings) -> dict[str, Any]:
    """The process group for a class-parallel head."""
    if not settings.class_parallel:
        return {}
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        raise ValueError("class_parallel: needs several processes; start with torchrun --nproc-per-node N -m facelearn")
    return {"process_group": dist.group.WORLD}


def _amp(amp: str) -> bool | str:
    choices: dict[str, bool | str] = {"off": False, "auto": True, "bf16": "bf16", "fp16": "fp16"}
    if amp not in choices:
        raise ValueError(f"amp: {amp!r}; expected one of {', '.join(choices)}")
    return choices[amp]


def versions() -> dict[str, str]:
    """What else numbers may depend on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    own = {"facelearn": facelearn.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return own | {"system": platform.system(), "machine": platform.machine(), "device": device,
                  "threads": str(torch.get_num_threads()), "processes": os.environ.get("WORLD_SIZE", "1")}  # fmt: skip


def _leave_nothing(run: Path) -> None:
    for name in ("config.json", PEOPLE, "metrics.csv", "metrics.json"):
        (run / name).unlink(missing_ok=True)
    if not any(run.iterdir()):
        run.rmdir()


def model_file(folder: str | os.PathLike[str]) -> Path:
    """The file of a run's trained net. ValueError where there is no run, or one that has not come to its end."""
    config(folder)
    path = Path(folder) / "model.safetensors"
    if not path.exists():
        raise ValueError(f"run: {folder} has not come to its end; `facelearn train --run {folder} --resume` goes on")
    return path


def load(folder: str | os.PathLike[str]) -> nn.Module:
    """The trained net of a run, in `eval()` mode; ValueError as for `model_file` and `load_net`."""
    return load_net(model_file(folder))


# ---- files ----------------------------------------------------------------------------------------------------------


def _rows(run: Path) -> list[Record]:
    """Those of the epochs so far; if the file is lost or damaged they come back from the checkpoint at the end."""
    try:
        rows = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        return []
    whole = isinstance(rows, list) and all(isinstance(row, dict) and type(row.get("epoch")) is int for row in rows)
    return rows if whole else []


def _write_metrics(run: Path, rows: list[Record]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
    write_whole(run / "metrics.csv", "\n".join(lines) + "\n")
    write_json(run / "metrics.json", rows)


def _draw_losses(run: Path, records: list[Record], settings: Settings) -> None:
    from matplotlib import pyplot as plt

    from facelearn import figures

    figures.use_style()
    fig, ax = plt.subplots()
    epochs = [record["epoch"] for record in records]
    ax.plot(epochs, [record["loss"] for record in records], marker="o", markersize=3)
    ax.set(xlabel="epoch", ylabel="loss", title=settings.loss)
    measured = [(record["epoch"], record["tune_eer"]) for record in records if record.get("tune_eer") is not None]
    if measured:
        other = ax.twinx()
        other.plot(*zip(*measured, strict=True), color=figures.colour("arcface"), marker="s", markersize=3)
        other.set(ylabel="EER of strangers (split tune)", ylim=(0, None))
        other.grid(False)
        other.spines["right"].set_visible(True)
    figures.save_png(run / "figures" / "loss.png", fig)
