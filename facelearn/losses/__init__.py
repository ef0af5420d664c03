"""The losses, one file each; see the table in `course/en/notation.md` for the symbols.

    loss = ArcFace(embedding_dim=64, num_classes=300)
    loss(embeddings, labels).backward()

`get("arcface", ...)` makes a loss by its stem, for scripts.
"""

from __future__ import annotations

from typing import Any

from facelearn.losses.arcface import ArcFace
from facelearn.losses.base import ClassLoss, Loss
from facelearn.losses.cosface import CosFace
from facelearn.losses.margin import MarginHead
from facelearn.losses.normface import NormFace
from facelearn.losses.softmax import Softmax

#: stem -> class, in course order
REGISTRY: dict[str, type[Loss]] = {
    "softmax": Softmax,
    "normface": NormFace,
    "cosface": CosFace,
    "arcface": ArcFace,
}

__all__ = ["REGISTRY", "ArcFace", "ClassLoss", "CosFace", "Loss", "MarginHead", "NormFace", "Softmax", "get"]


def get(stem: str, *args: Any, **settings: Any) -> Loss:
    """The loss of that stem, made with these arguments: `get("arcface", 64, 300, margin=0.4)`."""
    if stem not in REGISTRY:
        raise ValueError(f"stem={stem!r}: expected one of {', '.join(REGISTRY)}")
    return REGISTRY[stem](*args, **settings)
