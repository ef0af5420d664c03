"""MNIST from its four original IDX files, plain or gzipped."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facelearn.data.image_set import ImageSet

_STEMS = {"train": ("train", 60000), "test": ("t10k", 10000)}


def MNIST(root: str | os.PathLike[str], split: str = "train") -> ImageSet:
    """MNIST (LeCun, Cortes, Burges 1998): uint8 ``(60000, 1, 28, 28)`` for "train", 10000 for "test".

    ``root`` holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-...``, each plain or ``.gz``.
    Raises ``FileNotFoundError`` where one is missing, ``ValueError`` naming file, offset, what was found and what was
    expected where one is damaged or something else.
    """
    if split not in _STEMS:
        raise ValueError(f"split: found {split!r}, expected 'train' or 'test'")
    stem, count = _STEMS[split]
    images = read_idx(_find(Path(root), f"{stem}-images-idx3-ubyte"), (count, 28, 28))
    path = _find(Path(root), f"{stem}-labels-idx1-ubyte")
    labels = read_idx(path, (count,))
    if int(labels.max()) > 9:
        where = int((labels > 9).nonzero()[0])
        raise ValueError(f"{path}: offset {8 + where}: found label {int(labels[where])}, expected 0 to 9")
    return ImageSet(images[:, None], labels.long())


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """One IDX file of unsigned bytes with exactly these dimensions, as a uint8 tensor.

    Layout: two zero bytes, the type (8 = uint8), the number of dimensions, each dimension as a big-endian int32,
    then the bytes, the last index moving fastest.
    """
    data = _contents(path)
    header = 4 + 4 * len(shape)
    fields = [("magic number", bytes([0, 0, 8, len(shape)]))]
    fields += [(f"dimension {i}", size.to_bytes(4, "big")) for i, size in enumerate(shape)]
    for i, (what, expected) in enumerate(fields):
        found = data[4 * i : 4 * i + 4]
        if found != expected:
            numbers = (found.hex() or "end of file", expected.hex()) if i == 0 else (_number(found), _number(expected))
            raise ValueError(f"{path}: offset {4 * i}: {what}: found {numbers[0]}, expected {numbers[1]}")
    size = header + int(np.prod(shape))
    if len(data) != size:
        where = min(len(data), size)
        raise ValueError(f"{path}: offset {where}: found {len(data)} bytes in all, expected {size}")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy())


def _number(field: bytes) -> int | str:
    return int.from_bytes(field, "big") if len(field) == 4 else "end of file"


def _find(root: Path, name: str) -> Path:
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"root: found neither {name} nor {name}.gz in {root}, expected MNIST's four IDX files")


def _contents(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    data = bytearray()
    try:
        with gzip.open(path) as file:
            while block := file.read(1 << 20):
                data += block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}: offset {len(data)} of the unpacked data: found {error}, expected a whole gzip file"
        ) from None
    return bytes(data)
