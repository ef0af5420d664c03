"""Drawn stand-ins for photographs, in the files and archives in which real sets come."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (12, 10), channels: int = 3) -> np.ndarray:
    """Smooth random colours uint8 (H, W, 3), or (H, W), so that JPEG keeps them nearly as they are."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)[:, :, :channels].squeeze())
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def encode(pixels: np.ndarray, kind: str = "JPEG", quality: int = 95) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    """(C, H, W) by Pillow alone."""
    pixels = np.array(Image.open(io.BytesIO(data)))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def folder(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar with these members, in this order; packed by the suffix of `path`."""
    mode = {".tar": "w", ".tgz": "w:gz", ".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}[path.suffix]
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
