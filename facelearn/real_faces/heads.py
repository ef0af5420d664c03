"""The experiment in seconds: a linear head per loss on descriptors that are computed once.

features = lbp_features(faces)                       # about a minute, kept in a file
linear_heads(faces, features, ["softmax", "arcface", "supcon"])
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from facelearn.files import whole
from facelearn.real_faces import recipe
from facelearn.real_faces.descriptors import lbp
from facelearn.real_faces.rotation import Faces, Rotation, tar
from facelearn.recipe import Recipe
from facelearn.training import fit, seed_everything
from facelearn.verification import evaluate_scores

Array = NDArray[Any]


def lbp_features(faces: Faces, file: str | os.PathLike[str] | None = None) -> Array:
    """LBP of all images, (N, 7552) float32; read from `file` (.npy) if that is there, else computed and put there."""
    path = Path(file) if file is not None else None
    if path is not None and path.exists():
        return np.load(path, allow_pickle=False)
    rows = lbp(faces.images)
    if path is not None:
        with whole(path) as kept:
            np.save(kept, rows)
    return rows


def linear_heads(
    faces: Faces,
    features: Array,
    losses: Sequence[str] = ("softmax", "cosface", "arcface", "triplet", "supcon"),
    *,
    held_out: int = 0,
    steps: int = 300,
    dimensions: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """For each loss of `recipe.LOSSES`, train a matrix from descriptors to 128 dimensions and measure it.

    In the rotation `held_out` (0 ... 4): `features` (N, D) after whitened PCA to `dimensions`, of length 1, dropout
    .3, one matrix, batch normalisation; trained on the people with two or more images of four sets, measured on the
    pairs of the fifth. A row per loss, and one for the descriptor alone (`loss` "none"): `eer` of its 600 pairs,
    `every_eer` and `every_tar2` (FAR 1 %) of all pairs of its people, `seconds`. Three or four seconds per loss.
    """
    unknown = [loss for loss in losses if loss not in recipe.LOSSES]
    if unknown:
        raise ValueError(f"losses: {unknown}; expected some of {', '.join(recipe.LOSSES)}")
    rotation = faces.rotations[held_out]
    rows = rotation.reduced(features, dimensions)
    inputs = torch.from_numpy(rows) * dimensions**0.5  # entries of variance 1
    chosen, labels = rotation.training
    found = [{"loss": "none", **_measured(rotation, rows), "seconds": 0.0}]
    for loss in losses:
        began = time.perf_counter()
        head = train_head(inputs[chosen], labels, recipe.LOSSES[loss], steps=steps, seed=seed)
        with torch.no_grad():
            embeddings = head(inputs).numpy()
        found.append({"loss": loss, **_measured(rotation, embeddings), "seconds": time.perf_counter() - began})
    return pd.DataFrame(found)


class Rows(TensorDataset):
    """Rows (N, d) and labels (N,), as `fit` takes data that are no images."""

    def __init__(self, rows: Tensor, labels: Tensor) -> None:
        super().__init__(rows, labels)
        self.labels = labels


def train_head(
    rows: Tensor, labels: Tensor, loss: Recipe, *, steps: int, seed: int, lr: float = recipe.LR
) -> nn.Module:
    """Dropout, one matrix, batch normalisation: `rows` (N, d) with entries of variance 1 to 128; eval mode."""
    with torch.random.fork_rng([]):
        seed_everything(seed)
        head = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(rows.shape[1], recipe.DIM, bias=False), nn.BatchNorm1d(recipe.DIM)
        )
        objective, on_step = loss.build(recipe.DIM, int(labels.max()) + 1)
    batches, epochs = recipe.plan(loss, labels, steps)
    options: dict[str, Any] = {"epochs": epochs, "batches": batches, "on_step": on_step, "lr": lr, "seed": seed}
    fit(head, objective, Rows(rows, labels), progress=False, **options)
    return head.cpu().eval()


def _measured(rotation: Rotation, rows: Array) -> dict[str, float]:
    scores, test, faces = rotation.cosine(rows), rotation.tested, rotation.faces
    listed = evaluate_scores(scores.listed[test], faces.pairs[test], faces.same[test])
    every = evaluate_scores(scores.every, *rotation.every)
    return {"eer": listed.eer, "every_eer": every.eer, "every_tar2": tar(every, 1e-2)}
