"""A folder of images with a subfolder for each person, and the AT&T faces, which come as one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor
from torch.utils.data import Dataset

from facelearn.data.files import IMAGE_SUFFIXES, MAX_BYTES, Size, check_size, decode, read_files, stack
from facelearn.data.image_set import ImageSet, to_float


class ImageFiles(Dataset[tuple[Tensor, int]]):
    """The images `root/file` of a list of files, read when asked for: `set[i]` is `(float32 (C, H, W), label)`.

    `labels` int64 `(N,)`, by default 0 everywhere. `load()` gives them as an `ImageSet` in memory, which trains faster.
    Each is turned upright as its EXIF orientation says. size: side or (height, width) to resize to; channels: 3 (RGB)
    or 1 (grey). ValueError, with its file, where one cannot be decoded or has another size than the first.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        files: list[str],
        labels: Tensor | None = None,
        *,
        size: Size = None,
        channels: int = 3,
    ) -> None:
        self.root, self.files, self.size, self.channels = Path(root), files, size, channels
        self.labels = torch.zeros(len(files), dtype=torch.int64) if labels is None else labels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self._image(index)
        check_size(image, self._first, str(self.root / self.files[index]))
        return to_float(image), int(self.labels[index])

    @property
    def lengths(self) -> list[int]:
        """The bytes of each file: a picture that was exchanged has another number."""
        return [(self.root / file).stat().st_size for file in self.files]

    def load(self, indices: Iterable[int] | None = None) -> ImageSet:
        """These images (by default all) in memory as bytes. ValueError where they differ in size."""
        chosen = list(range(len(self)) if indices is None else indices)
        images = ((row, self._image(index), str(self.root / self.files[index])) for row, index in enumerate(chosen))
        return self._known(ImageSet(stack(images, len(chosen)), self.labels[chosen]))

    def _known(self, loaded: ImageSet) -> ImageSet:
        """With what else this reader knows."""
        return loaded

    @cached_property
    def _first(self) -> torch.Size:
        return self._image(0).shape

    def _image(self, index: int) -> Tensor:
        path = self.root / self.files[index]
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
        return decode(data, str(path), channels=self.channels, size=self.size)


class ImageFolder(ImageFiles):
    """The images `root/person/anything.jpg` (or .png, .pgm, ...); `set[i]` is `(float32 (C, H, W) in [-1, 1], label)`.

    * `labels` int64 `(N,)`: number of the person in `names`, the subfolders in alphabetical order
    * `files`: `person/anything.jpg` of each image, in alphabetical order

    Images are read when asked for, so that a set may be larger than memory; `ImageFiles` has `load`, size and channels.

    Hidden files, other files and files beside the subfolders are passed over; `passed_over` says which and why, all but
    the hidden ones. FileNotFoundError where `root` is no
    folder, ValueError where it has no images so arranged, or, with its file, where one cannot be decoded or has another
    size than the first.
    """

    def __init__(self, root: str | os.PathLike[str], *, size: Size = None, channels: int = 3) -> None:
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"root: found no folder {root}, expected one with a subfolder for each person")
        people = {entry.name: _sorted_out(entry) for entry in _listed(root) if entry.is_dir()}
        beside = [f"{entry.name} (beside the folders)" for entry in _listed(root) if entry.name not in people]
        self.passed_over = (*beside, *(other for _, others in people.values() for other in others))
        found = {person: images for person, (images, _) in people.items() if images}
        if not found:
            raise ValueError(f"root: found no image in the subfolders of {root}, expected person/image.jpg or .png")
        self.names = list(found)
        counts = torch.tensor([len(files) for files in found.values()])
        labels = torch.arange(len(found)).repeat_interleave(counts)
        files = [f"{person}/{file}" for person, files in found.items() for file in files]
        super().__init__(root, files, labels, size=size, channels=channels)

    def _known(self, loaded: ImageSet) -> ImageSet:
        loaded.names, loaded.passed_over = self.names, self.passed_over
        return loaded


class ORL(ImageSet):
    """The AT&T (ORL, Olivetti) faces: 40 people, 10 photographs of each, grey, 112 high and 92 wide, in a studio.

    source: the folder, or a tar archive, with files `s1/1.pgm` to `s40/10.pgm` below any others. `images` uint8
    `(N, 1, 112, 92)`, `labels` int64 `(N,)`: 0 for s1 and so on; `names`, `files`. size: side or (height, width).
    ValueError, with file and offset, where an image is damaged, comes twice, or there is none.

    Source: Samaria, Harter, "Parameterisation of a stochastic model for human face identification", 2nd IEEE Workshop
    on Applications of Computer Vision, 1994; free for research, with credit to AT&T Laboratories Cambridge.
    """

    def __init__(self, source: str | os.PathLike[str], *, size: Size = None) -> None:
        found: dict[tuple[int, int], Tensor] = {}
        where: dict[tuple[int, int], str] = {}
        for file in read_files(source, lambda path: _person_and_shot(path) is not None):
            key = _person_and_shot(file.path)
            assert key is not None
            if key in found:
                raise ValueError(f"{file.where}: found s{key[0]}/{key[1]}.pgm again, expected each image once")
            found[key], where[key] = decode(file.data, file.where, channels=1, size=size), file.where
        if not found:
            raise ValueError(f"{source}: found no image, expected s1/1.pgm to s40/10.pgm")
        keys = sorted(found)
        people = sorted({person for person, _ in keys})
        self.names = [f"s{person}" for person in people]
        self.files = [f"s{person}/{shot}.pgm" for person, shot in keys]
        labels = torch.tensor([people.index(person) for person, _ in keys])
        super().__init__(stack(((i, found[key], where[key]) for i, key in enumerate(keys)), len(keys)), labels)


def _person_and_shot(path: str) -> tuple[int, int] | None:
    """`orl_faces/s3/7.pgm` -> (3, 7)."""
    parts = PurePosixPath(path).parts[-2:]
    if len(parts) != 2 or not parts[1].endswith(".pgm") or not parts[0].startswith("s"):
        return None
    person, shot = parts[0][1:], parts[1][:-4]
    return (int(person), int(shot)) if all(x.isascii() and x.isdigit() and len(x) < 6 for x in (person, shot)) else None


def _listed(folder: Path) -> Iterator[Path]:
    return iter(sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".")))


def _sorted_out(folder: Path) -> tuple[list[str], list[str]]:
    """The images of a person by name, and what else is there, with the reason why it is passed over."""
    images, others = [], []
    for entry in _listed(folder):
        if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
            images.append(entry.name)
        else:
            others.append(f"{folder.name}/{entry.name} ({'a folder within' if entry.is_dir() else 'no image'})")
    return images, others if images else [f"{folder.name}/ (no image in it)"]
