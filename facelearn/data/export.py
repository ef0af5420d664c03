"""Synthetic faces as files: a folder of PNGs per person, tables of all that is known about them, and a data sheet."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from facelearn.data.face_renderer import VERSION
from facelearn.data.faces import SyntheticFaces
from facelearn.data.image_set import contact_sheet

SHEET_PEOPLE, SHEET_SHOTS = 12, 10

DATA_SHEET = """# Synthetic faces: {people} people, {images} images, {size} x {size} pixels

Drawn by the renderer of `facelearn`, version {version}. None of these people exists, and no photograph went into them.

- `<person>/<shot>.png`: the images, RGB, a folder per label (the layout that `ImageFolder` readers expect)
- `images.csv`: a row per image: file, label, true identity, shot, and the value of every nuisance
- `traits.csv`: a row per person: the value of every identity trait, standard normal
- `settings.json`: the arguments of `facelearn.data.SyntheticFaces` that draw the set again, pixel for pixel
- `sheet.png`: the first people and shots at a glance, a row per person

**For**: learning and testing; experiments in which one cause is to vary at a time.
**Not for**: any statement about real faces, about how a system treats groups of real people, or about the error rate of
a system outside this toy world. Traits are independent and uniform by design; no population looks like that.

Licence: the images are generated and carry no rights of third parties; use them as you like (CC0).
"""


def export_faces(folder: str | os.PathLike[str], settings: Mapping[str, Any], *, progress: bool = False) -> Path:
    """Draw `SyntheticFaces(**settings)` and write it as a folder; returns its path.

    `settings` holds plain values only (they go into `settings.json`). The folder appears whole or not at all: it is
    written under another name and renamed. ValueError if it exists and is not empty, or for settings that
    `SyntheticFaces` refuses; OSError if it cannot be written.
    """
    target = Path(folder)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ValueError(f"folder: {target} exists already; expected a new or empty one")
    text = json.dumps(dict(settings), indent=2, sort_keys=True) + "\n"
    faces = SyntheticFaces(**settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    growing = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        _write(growing, faces, text, progress)
        growing.chmod(0o755)  # mkdtemp makes folders private
        if target.is_dir():
            target.rmdir()
        growing.rename(target)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise
    return target


def save_sheet(path: str | os.PathLike[str], faces: SyntheticFaces, *, people: int = 12, shots: int = 10) -> None:
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
    beside = target.with_name(f".{target.name}.part")
    try:
        beside.write_bytes(_png(contact_sheet(torch.cat(rows), shots, pad=2)))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _write(folder: Path, faces: SyntheticFaces, settings: str, progress: bool) -> None:
    width = max(4, len(str(int(faces.labels.max()))))
    names = [
        f"{label:0{width}d}/{identity:0{width}d}_{shot:04d}.png"  # two people may share a label, where labels are noisy
        for label, identity, shot in zip(
            faces.labels.tolist(), faces.identities.tolist(), faces.shots.tolist(), strict=True
        )
    ]
    for name, image in zip(tqdm(names, "writing", disable=not progress, leave=False), faces.images, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(_png(image.permute(1, 2, 0)))
    columns = {"file": names, "label": faces.labels, "identity": faces.identities, "shot": faces.shots}
    images = pd.DataFrame(columns | {k: v.numpy() for k, v in faces.nuisance.items()})
    images.to_csv(folder / "images.csv", index=False, float_format="%.6g", lineterminator="\n")
    traits = pd.DataFrame({k: v.numpy() for k, v in faces.traits.items()}).rename_axis("identity")
    traits.to_csv(folder / "traits.csv", float_format="%.6g", lineterminator="\n")
    (folder / "settings.json").write_text(settings, encoding="utf-8")
    save_sheet(folder / "sheet.png", faces, people=SHEET_PEOPLE, shots=SHEET_SHOTS)
    size, people = faces.images.shape[-1], len(traits)
    sheet = DATA_SHEET.format(people=f"{people:,}", images=f"{len(faces):,}", size=size, version=VERSION)
    (folder / "README.md").write_text(sheet, encoding="utf-8")


def _png(picture: Tensor) -> bytes:
    """(H, W, 3) uint8 -> PNG, the same bytes for the same picture."""
    data = io.BytesIO()
    Image.fromarray(picture.numpy()).save(data, "PNG")
    return data.getvalue()
