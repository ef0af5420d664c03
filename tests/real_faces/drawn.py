"""Drawn faces in LFW's files: lists of people and pairs, and aligned images in a tar."""

from pathlib import Path

import numpy as np

from facelearn.data import SyntheticFaces
from tests.data.make import archive, encode


def write_lfw(folder: Path, sets: int = 3, people: int = 8, images: int = 3, seed: int = 0, prefix: str = "P") -> Path:
    """`people.txt`, `pairs.txt` and `faces_aligned112.tar` of sets x people, each with `images` faces."""
    drawn = SyntheticFaces(sets * people, images, size=112, seed=seed, difficulty=0.3, cache=False)
    names = [f"{prefix}{k:03d}" for k in range(sets * people)]
    shots = [(name, shot) for name in names for shot in range(1, images + 1)]
    files = {
        f"top/{name}/{name}_{shot:04d}.jpg": encode(image.permute(1, 2, 0).numpy())
        for (name, shot), image in zip(shots, drawn.images, strict=True)
    }
    rng = np.random.default_rng(seed)
    listed, pairs = [str(sets)], [f"{sets}\t{people}"]
    for k in range(sets):
        own = names[k * people : (k + 1) * people]
        listed += [str(people), *(f"{name}\t{images}" for name in own)]
        pairs += [f"{name}\t1\t2" for name in own]
        others = [own[(i + rng.integers(1, people)) % people] for i in range(people)]
        pairs += [f"{one}\t1\t{other}\t{images}" for one, other in zip(own, others, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "people.txt").write_text("\n".join(listed) + "\n")
    (folder / "pairs.txt").write_text("\n".join(pairs) + "\n")
    archive(folder / "faces_aligned112.tar", files)
    return folder
