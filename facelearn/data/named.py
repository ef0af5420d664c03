"""Sets of images by name: `synthetic:identities=300,size=32`, `digits`, `mnist:DIR`, `folder:DIR`, `recordio:FILE`."""

from __future__ import annotations

from typing import Any

from facelearn.data.digits import digits
from facelearn.data.folder import ImageFolder
from facelearn.data.mnist import MNIST
from facelearn.data.recordio import RecordIO
from facelearn.data.standard import standard
from facelearn.words import parse

IN_MEMORY = 2**30  # bytes


def make_data(words: str, size: int | None = None) -> Any:
    """A training set: `synthetic[:identities=300,size=32,...]`, `digits`, `mnist:DIR`, `folder:DIR`, `recordio:FILE`.

    Synthetic sets are the standard set "fit" with what is said otherwise. `size` resizes the images of folders and
    record files, which come into memory where they are at most 1 GiB of pixels.
    """
    kind, _, rest = words.partition(":")
    if size is not None and kind not in ("folder", "recordio"):
        raise ValueError(
            f"size: {size} with data {words!r}; expected folder: or recordio: (synthetic:size=... is drawn)"
        )
    if kind == "synthetic":
        return standard("fit", **synthetic_options(words))
    if kind == "digits" and not rest:
        return digits("train")
    if kind in ("mnist", "folder", "recordio") and not rest:
        raise ValueError(f"data: {words!r}; expected {kind}:PATH")
    if kind == "mnist":
        return MNIST(rest, "train")
    if kind in ("folder", "recordio"):
        on_disk: Any = (RecordIO if kind == "recordio" else ImageFolder)(rest, size=size)
        return on_disk.load() if len(on_disk) * on_disk[0][0].numel() <= IN_MEMORY else on_disk
    raise ValueError(
        f"data: {words!r}; expected synthetic[:name=value,...], digits, mnist:DIR, folder:DIR or recordio:FILE"
    )


def synthetic_options(words: str, what: str = "data") -> dict[str, Any]:
    """`synthetic:size=48,seed=7` -> {"size": 48, "seed": 7}. ValueError, which names `what`, for another name."""
    options = parse(words, what)[1]
    known = {"identities", "images_per_identity", "size", "seed", "difficulty", "kinship", "label_noise", "cache"}
    if unknown := sorted(set(options) - known):
        raise ValueError(
            f"{what}: found {', '.join(unknown)} in {words!r}; expected some of {', '.join(sorted(known))}"
        )
    return options


def strangers(words: str, split: str) -> Any:
    """The standard set `split` with the size and difficulty of the training set `words`; None if that is not synthetic.

    A training set of another seed is measured on people of the same seed, so that runs of several seeds see several
    draws of people.
    """
    if words.partition(":")[0] != "synthetic":
        return None
    options = synthetic_options(words)
    return standard(split, **{k: options[k] for k in ("size", "difficulty", "seed") if k in options})
