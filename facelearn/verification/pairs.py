"""Pairs of images and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from facelearn.verification.checks import Array, check_pairs, codes_of, unit_rows

NUM_FOLDS = 10


def all_pairs(labels: Array | torch.Tensor | Sequence[Any]) -> tuple[Array, Array]:
    """All pairs i < j of N images: `pairs` (N(N-1)/2, 2) int64, `same` (N(N-1)/2,) bool, ordered by i, then j."""
    codes = codes_of("labels", labels)
    image = np.arange(len(codes))
    count = len(codes) * (len(codes) - 1) // 2
    pairs, same, end = np.empty((count, 2), np.int64), np.empty(count, bool), 0
    for i in image[:-1]:  # in place: beside the result nothing of its size is ever held
        start, end = end, end + len(codes) - 1 - i
        pairs[start:end, 0], pairs[start:end, 1] = i, image[i + 1 :]
        np.equal(codes[i + 1 :], codes[i], out=same[start:end])
    return pairs, same


def fold_pairs(
    labels: Array | torch.Tensor | Sequence[Any], *, per_fold: int = 300, num_folds: int = NUM_FOLDS, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Draw a protocol like LFW's view 2: people-disjoint folds with as many genuine as impostor pairs in each.

    labels: (N,) person of each image. Returns `pairs` (2 * per_fold * num_folds, 2) int64, `same` bool and `folds`
    int64, ready for `evaluate_pairs`. No pair is drawn twice. Balanced pairs make chance accuracy 1/2.
    Source: Huang et al., Labeled Faces in the Wild, UMass TR 07-49, 2007 (300 + 300 pairs in each of 10 folds).
    """
    for name, value in (("per_fold", per_fold), ("num_folds", num_folds)):
        if value < 1:
            raise ValueError(f"{name}: found {value}, expected 1 or more")
    codes = codes_of("labels", labels)
    rng = np.random.default_rng(seed)
    fold_of_person = rng.permutation(codes.max() + 1) % num_folds
    chosen = []
    for fold in range(num_folds):
        images = np.flatnonzero(fold_of_person[codes] == fold)
        pairs, same = all_pairs(codes[images]) if len(images) else (np.empty((0, 2), np.int64), np.empty(0, bool))
        for kind, name in ((True, "genuine"), (False, "impostor")):
            candidates = np.flatnonzero(same == kind)
            if len(candidates) < per_fold:
                found = f"fold {fold} of {num_folds} offers {len(candidates)} {name} pairs"
                raise ValueError(f"labels: {found}, expected at least per_fold={per_fold}")
            chosen.append(images[pairs[rng.choice(candidates, per_fold, replace=False)]])
    same = np.tile(np.repeat([True, False], per_fold), num_folds)
    return np.concatenate(chosen), same, np.repeat(np.arange(num_folds), 2 * per_fold)


def score_pairs(embeddings: Array | torch.Tensor, pairs: Array | torch.Tensor, *, block: int = 256) -> Array:
    """Cosine of each pair: embeddings (N, d) floating point, pairs (P, 2) integer -> (P,) float64 in [-1, 1].

    Beside the embeddings in float64 and the result it holds either `block` pairs of rows at a time, or, where the
    images are few for so many pairs, all N x N cosines (never more than 4 numbers a pair), which is much faster.
    """
    if block < 1:
        raise ValueError(f"block: found {block}, expected 1 or more")
    unit = unit_rows("embeddings", embeddings)
    index = check_pairs(pairs, len(unit))
    if len(unit) ** 2 <= 4 * len(index):
        scores = (unit @ unit.T)[index[:, 0], index[:, 1]]
    else:
        scores = np.empty(len(index))
        for start in range(0, len(index), block):
            part = index[start : start + block]
            np.einsum("pd,pd->p", unit[part[:, 0]], unit[part[:, 1]], out=scores[start : start + block])
    return np.clip(np.round(scores, 12, out=scores), -1, 1, out=scores)
