"""Synthetic faces as files: a folder of PNGs per person, tables of all that is known about them, and a data sheet."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from facelearn.data.face_renderer import VERSION
from facelearn.data.faces import FacePlan, SyntheticFaces
from facelearn.data.image_set import contact_sheet
from facelearn.files import write_whole

SHEET_PEOPLE, SHEET_SHOTS = 12, 10
_PIXELS = 1 << 22  # drawn, and kept in memory, together

DATA_SHEET = """# Synthetic faces: {people} people, {images} images, {size} x {size} pixels

Drawn by the renderer of `facelearn`, version {version}. None of these people exists, and no photograph went into them.

这些人脸由 `facelearn` 的渲染器画出，世上并无其人，也没有用到任何照片。可用来学习和做受控实验；
不能据此推断真实人脸、真实人群，或任何系统在真实场景中的错误率。

- `<label>/<identity>_<shot>.png`: the images, RGB, a folder per label (the layout that `ImageFolder` readers expect)
- `images.csv`: a row per image: file, label, true identity, shot, and the value of every nuisance
- `traits.csv`: a row per person: the value of every identity trait, each uniform in its range
- `settings.json`: the arguments of `facelearn.data.SyntheticFaces` that draw the set again
- `sheet.png`: the first people and shots at a glance, a row per person

Names, units and ranges of nuisances and traits: `facelearn.data.NUISANCE` and `TRAITS`. Images per person: {counts}.

| parameter | value |
|---|---|
{parameters}

Pixels: SHA-256 `{digest}`,
over the RGB bytes of all images in the order of `images.csv`. The same settings give the same pixels; on another kind
of processor a few may differ by one grey level.

**For**: learning and testing; experiments in which one cause is to vary at a time.
**Not for**: any statement about real faces, about how a system treats groups of real people, or about the error rate of
a system outside this toy world. Traits are independent and uniform by design; no population looks like that.

Licence: the images are generated and carry no rights of third parties; use them as you like (CC0).
"""


def export_faces(folder: str | os.PathLike[str], settings: Mapping[str, Any], *, progress: bool = False) -> Path:
    """Draw `SyntheticFaces(**settings)` and write it as a folder; returns its path.

    `settings` holds plain values only (they go into `settings.json`). The folder appears whole or not at all: it grows
    beside its place under a hidden name, and is renamed in the end. An export that was killed goes on where it stopped
    when called again. Images are drawn and written in parts, so that a set may be larger than memory.
    ValueError if the folder exists and is not empty, or for settings that `SyntheticFaces` refuses; OSError if it
    cannot be written.
    """
    target = Path(folder)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ValueError(f"folder: {target} exists already; expected a new or empty one")
    arguments = complete(settings)
    text = json.dumps(arguments, indent=2, sort_keys=True) + "\n"
    plan = FacePlan(**arguments)
    growing = _growing(target, hashlib.sha256(f"{VERSION} {text}".encode()).hexdigest()[:8])
    try:
        _write_images(growing, plan, settings.get("device"), progress)
        _write_tables(growing, plan, arguments, text)
        if target.is_dir():
            target.rmdir()
        growing.rename(target)
    except Exception:  # not where it is interrupted or killed: what is there then is good, and is gone on from
        shutil.rmtree(growing, ignore_errors=True)
        raise
    return target


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """These arguments of `SyntheticFaces` and the defaults of all others, without what changes no picture."""
    arguments = {name: parameter.default for name, parameter in inspect.signature(FacePlan).parameters.items()}
    return arguments | {name: value for name, value in settings.items() if name not in ("cache", "device")}


def pixels_digest(folder: str | os.PathLike[str]) -> str:
    """SHA-256 over the RGB bytes of an exported set's images, in the order of `images.csv`: as in its data sheet.

    ValueError where an image is damaged or missing.
    """
    names = pd.read_csv(Path(folder) / "images.csv", usecols=["file"])["file"]
    return _digest(Path(folder), names.tolist())


def _growing(target: Path, key: str) -> Path:
    """The hidden folder in which this set grows. Those of other settings, which nobody goes on with, are removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    growing = target.parent / f".{target.name}.{key}.part"
    for other in target.parent.glob(f".{target.name}.????????.part"):
        if other != growing:
            shutil.rmtree(other)
    growing.mkdir(exist_ok=True)
    return growing


class Pictures(NamedTuple):
    images: Tensor  # uint8 (N, 3, S, S)
    identities: Tensor  # int64 (N,)


def save_sheet(
    path: str | os.PathLike[str],
    faces: SyntheticFaces | Pictures,
    *,
    people: int = SHEET_PEOPLE,
    shots: int = SHEET_SHOTS,
) -> None:
    """Write a contact sheet as PNG, whole or not at all: a row per person, the first `shots` of each."""
    for name, value in (("people", people), ("shots", shots)):
        if value < 1:
            raise ValueError(f"{name}: {value}; expected at least 1")
    rows = []
    for person in range(min(people, int(faces.identities.max()) + 1)):
        own = faces.images[faces.identities == person][:shots]
        empty = own.new_full((shots - len(own), *own.shape[1:]), 255)
        rows.append(torch.cat([own, empty]))  # (shots, 3, S, S)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, _png(contact_sheet(torch.cat(rows), shots, pad=2)))


def _names(plan: FacePlan) -> list[str]:
    width = max(4, len(str(int(plan.labels.max()))))
    rows = zip(plan.labels.tolist(), plan.identities.tolist(), plan.shots.tolist(), strict=True)
    # two people may share a label, where labels are noisy
    return [f"{label:0{width}d}/{identity:0{width}d}_{shot:04d}.png" for label, identity, shot in rows]


def _write_images(folder: Path, plan: FacePlan, device: Any, progress: bool) -> None:
    """Draw and write the images that are not there yet."""
    names = _names(plan)
    for part in tqdm(list(_parts(len(names), plan.size)), "drawing", disable=not progress, leave=False):
        if all((folder / name).is_file() for name in names[part]):
            continue
        for name, image in zip(names[part], plan.draw(part, device), strict=True):
            (folder / name).parent.mkdir(exist_ok=True)
            write_whole(folder / name, _png(image.permute(1, 2, 0)), alone=True)


def _parts(count: int, size: int) -> Iterator[slice]:
    step = max(1, _PIXELS // size**2)
    return (slice(start, min(count, start + step)) for start in range(0, count, step))


def _write_tables(folder: Path, plan: FacePlan, arguments: Mapping[str, Any], settings: str) -> None:
    names = _names(plan)
    columns = {"file": names, "label": plan.labels, "identity": plan.identities, "shot": plan.shots}
    images = pd.DataFrame(columns | {k: v.numpy() for k, v in plan.nuisance.items()})
    images.to_csv(folder / "images.csv", index=False, float_format="%.9g", lineterminator="\n")
    traits = pd.DataFrame({k: v.numpy() for k, v in plan.traits.items()}).rename_axis("identity")
    traits.to_csv(folder / "traits.csv", float_format="%.9g", lineterminator="\n")
    (folder / "settings.json").write_text(settings, encoding="utf-8")
    counts = plan.identities.bincount()
    shown = (plan.identities < SHEET_PEOPLE) & (plan.shots < plan.shots[0] + SHEET_SHOTS)  # of the first shots
    save_sheet(folder / "sheet.png", Pictures(plan.draw(shown), plan.identities[shown]))
    sheet = DATA_SHEET.format(
        people=f"{len(traits):,}",
        images=f"{len(names):,}",
        size=plan.size,
        version=VERSION,
        counts=f"{int(counts.min())} to {int(counts.max())}",
        parameters="\n".join(f"| `{name}` | {_short(value)} |" for name, value in arguments.items()),
        digest=_digest(folder, names),
    )
    (folder / "README.md").write_text(sheet, encoding="utf-8")


def _short(value: object) -> str:
    text = json.dumps(value)
    return f"`{text}`" if len(text) <= 80 else "see `settings.json`"


def _digest(folder: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        try:
            with Image.open(folder / name, formats=["PNG"]) as image:
                digest.update(np.asarray(image).tobytes())
        except (OSError, SyntaxError) as error:  # Pillow's names for a damaged file
            raise ValueError(f"{folder / name}: found {error}, expected a whole PNG") from error
    return digest.hexdigest()


def _png(picture: Tensor) -> bytes:
    """(H, W, 3) uint8 -> PNG, the same bytes for the same picture."""
    data = io.BytesIO()
    Image.fromarray(picture.numpy()).save(data, "PNG")
    return data.getvalue()
