"""Images with labels, kept in memory as bytes: the one form in which every set of this package arrives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset


def to_float(images: Tensor) -> Tensor:
    """uint8 pixels in 0..255 -> float32 in [-1, 1]: ``x / 127.5 - 1``, any shape."""
    if images.dtype != torch.uint8:
        raise ValueError(f"images: found {images.dtype}, expected torch.uint8")
    return images.float().div_(127.5).sub_(1)


class ImageSet(Dataset[tuple[Tensor, int]]):
    """Labelled images in memory.

    ``images`` is uint8 ``(N, C, H, W)``, ``labels`` int64 ``(N,)``, none negative. ``set[i]`` is
    ``(float32 (C, H, W) in [-1, 1], int label)``. A whole batch at once is ``to_float(set.images[index])``.
    Raises ``ValueError`` for another shape or dtype, or where the lengths differ.
    """

    #: who label 0, 1, ... is; only where a reader knows
    names: list[str]
    #: what a reader found beside the images, each with the reason why it was left
    passed_over: tuple[str, ...] = ()

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            found = f"{images.dtype} {tuple(images.shape)}"
            raise ValueError(f"images: found {found}, expected torch.uint8 (N, C, H, W)")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            found = f"{labels.dtype} {tuple(labels.shape)}"
            raise ValueError(f"labels: found {found}, expected torch.int64 ({len(images)},)")
        if len(labels) and int(labels.min()) < 0:
            raise ValueError(f"labels: found {int(labels.min())}, expected none below 0")
        self.images = images  # (N, C, H, W)
        self.labels = labels  # (N,)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return to_float(self.images[index]), int(self.labels[index])


def subset(data: ImageSet, chosen: Tensor) -> ImageSet:
    """Some images of a set, their labels renumbered 0, 1, ... without gaps, in the old order: a set to train on.

    chosen: bool `(N,)`, or int64 numbers of images. People with at least two images, say:
    ``subset(people, people.labels.bincount()[people.labels] >= 2)``.
    """
    fits = chosen.shape == data.labels.shape if chosen.dtype == torch.bool else chosen.dtype == torch.int64
    if not fits or chosen.ndim != 1:
        found = f"{chosen.dtype} {tuple(chosen.shape)}"
        raise ValueError(f"chosen: found {found}, expected torch.bool ({len(data)},) or torch.int64 (n,)")
    return ImageSet(data.images[chosen], data.labels[chosen].unique(return_inverse=True)[1])


def contact_sheet(images: Tensor, columns: int, pad: int = 0) -> Tensor:
    """Lay images ``(N, C, H, W)`` uint8 out in rows: one picture ``(rows*H, columns*W, 3)`` uint8.

    Grey images become RGB, missing places white; ``pad`` leaves that many white pixels between pictures.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        found = f"{images.dtype} {tuple(images.shape)}"
        raise ValueError(f"images: found {found}, expected torch.uint8 (N, 1 or 3, H, W)")
    if columns < 1:
        raise ValueError(f"columns: found {columns}, expected at least 1")
    if pad < 0:
        raise ValueError(f"pad: found {pad}, expected 0 or more")
    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = images.new_full((rows * columns, 3, height + pad, width + pad), 255)
    sheet[:count, :, :height, :width] = images
    sheet = sheet.view(rows, columns, 3, height + pad, width + pad).permute(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * (height + pad), columns * (width + pad), 3)
    return sheet[: sheet.shape[0] - pad, : sheet.shape[1] - pad]
