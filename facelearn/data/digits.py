"""Real handwritten digits that come with scikit-learn: small enough to train on while one waits."""

from __future__ import annotations

import numpy as np
import torch

from facelearn.data.image_set import ImageSet

_SPLIT = {
    "test_size": 397,
    "random_state": 0,
}  # pinned: 1400 to train, 397 to test, equal shares of each digit


def digits(split: str = "train") -> ImageSet:
    """Handwritten digits 0-9, grey, 8x8 pixels, uint8 ``(N, 1, 8, 8)``: "train" has 1400 images, "test" 397.

    The UCI "Optical Recognition of Handwritten Digits" test set (Alpaydin, Kaynak 1998), 43 people's hands, as
    scikit-learn ships it; its 17 grey levels are spread over 0..255. The split is stratified and always the same.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split: found {split!r}, expected 'train' or 'test'")
    from sklearn.datasets import load_digits  # here, since it takes longer to import than all the rest of the package
    from sklearn.model_selection import train_test_split

    data = load_digits()
    train, test = train_test_split(np.arange(len(data.target)), stratify=data.target, **_SPLIT)
    chosen = train if split == "train" else test
    images = np.rint(data.images[chosen] * (255 / 16)).astype(np.uint8)  # (N, 8, 8)
    return ImageSet(torch.from_numpy(images)[:, None], torch.from_numpy(data.target[chosen]).long())
