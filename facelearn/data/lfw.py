"""Labeled Faces in the Wild: the pairs it is measured on, and its people.

    >>> faces = LFWPairs("pairs.txt", "lfw.tgz", size=112)
    >>> embeddings = embed(net, faces)
    >>> evaluate_pairs(embeddings, faces.pairs, faces.same, identities=faces.labels, folds=faces.folds)

Source: Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild: A Database for Studying Face Recognition in
Unconstrained Environments", UMass Amherst TR 07-49, 2007, with the formats of its README. They say themselves that a
result on this set must not be taken to show that a system is fit for any commercial use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import torch
from torch import Tensor

from facelearn.data.align import align_image, read_landmarks, text_fields
from facelearn.data.files import IMAGE_SUFFIXES, Size, open_image, read_files, resize, stack, to_tensor
from facelearn.data.image_set import ImageSet

PathLike = str | os.PathLike[str]
MOST_IMAGES = 9999  # of a person: their numbers have four digits


class LFWPeople(ImageSet):
    """All images of the people in an official list (`people.txt`, or `peopleDevTrain.txt` with one set).

    * `images` uint8 `(N, 3, H, W)`, `labels` int64 `(N,)`: number of the person in `names`, in the list's order
    * `sets` int64 `(N,)`: set of the list that the person is in, from 0, as in `LFWPairs.folds`
    * `files`: `Name/Name_0001.jpg` of each image

    people: the list; images: a folder, or a .tar or .tgz, with files `Name/Name_0001.jpg` below any other folders;
    landmarks: a file for `read_landmarks`, with which the images are aligned to 112 x 112; size: side or
    (height, width) to resize to. ValueError names the file and the place that is damaged, missing or contradicts.
    """

    def __init__(
        self, people: PathLike, images: PathLike, *, size: Size = None, landmarks: PathLike | None = None
    ) -> None:
        listed = read_people(people)
        self.names = [person.name for person in listed]
        counts = torch.tensor([person.images for person in listed])  # (people,)
        self.files = [_file(person.name, i) for person in listed for i in range(1, person.images + 1)]
        self.sets = torch.tensor([person.set for person in listed]).repeat_interleave(counts)  # (N,)
        labels = torch.arange(len(listed)).repeat_interleave(counts)
        super().__init__(_load(images, self.files, size, landmarks), labels)


class LFWPairs(ImageSet):
    """The pairs of an official list (`pairs.txt` of any number of folds, or `pairsDevTest.txt`) and their images.

    * `images` uint8 `(N, 3, H, W)`, each image once; `labels` int64 `(N,)`: the number of the person in `names`
    * `pairs` int64 `(P, 2)`: two numbers of images; `same` bool `(P,)`; `folds` int64 `(P,)` from 0; the list's order
    * `files`: `Name/Name_0001.jpg` of each image

    Arguments as for `LFWPeople`; `images` may be an `LFWPeople`, too, whose images are then shared, all of them.
    `pairsDevTrain.txt` and `pairsDevTest.txt` have no folds: `folds` is 0 everywhere, leave it away when evaluating.
    """

    def __init__(
        self,
        pairs: PathLike,
        images: PathLike | LFWPeople,
        *,
        size: Size = None,
        landmarks: PathLike | None = None,
    ) -> None:
        listed = read_pairs(pairs)
        self.same = torch.tensor([pair.same for pair in listed])  # (P,)
        self.folds = torch.tensor([pair.fold for pair in listed])  # (P,)
        if isinstance(images, LFWPeople):
            if size is not None or landmarks is not None:
                raise ValueError("size, landmarks: found one with images that are loaded, expected None")
            self.names, self.files = images.names, images.files
            pixels, labels = images.images, images.labels
        else:
            self.files = sorted({_file(*image) for pair in listed for image in (pair.first, pair.second)})
            self.names = sorted({file.split("/")[0] for file in self.files})
            number = {name: i for i, name in enumerate(self.names)}
            labels = torch.tensor([number[file.split("/")[0]] for file in self.files])
            pixels = _load(images, self.files, size, landmarks)
        position = {file: i for i, file in enumerate(self.files)}
        for pair in listed:
            for file in (_file(*pair.first), _file(*pair.second)):
                if file not in position:
                    raise ValueError(f"{pairs}: line {pair.line}: found {file}, expected an image of images")
        both = [[position[_file(*pair.first)], position[_file(*pair.second)]] for pair in listed]
        self.pairs = torch.tensor(both)  # (P, 2)
        super().__init__(pixels, labels)


class Person(NamedTuple):
    name: str
    images: int
    set: int


class Pair(NamedTuple):
    first: tuple[str, int]  # name, number of the image
    second: tuple[str, int]
    fold: int
    line: int

    @property
    def same(self) -> bool:
        return self.first[0] == self.second[0]


def read_people(path: PathLike) -> list[Person]:
    """An official list of people: `people.txt` (number of sets, then for each its size and lines `name count`), or
    `peopleDevTrain.txt` (number of people, then the lines). ValueError names file and line."""
    lines = _Lines(path)
    first = lines.number(lines.take("a number of sets or of people", 1)[0])
    one_set = len(lines.ahead()) == 2  # names follow at once
    people: list[Person] = []
    for number in range(1 if one_set else first):
        size = first if one_set else lines.number(lines.take("the number of people of a set", 1)[0])
        for _ in range(size):
            name, count = lines.take("a name and its number of images", 2)
            if lines.number(count) > MOST_IMAGES:
                raise lines.error(f"{count} images", f"at most {MOST_IMAGES}: files are called {_file(name, 1)}")
            people.append(Person(name, lines.number(count), number))
    lines.end()
    seen = set()
    for person in people:
        if person.name in seen:
            raise ValueError(f"{path}: found {person.name} twice, expected each name once")
        seen.add(person.name)
    return people


def read_pairs(path: PathLike) -> list[Pair]:
    """An official list of pairs: a line `folds per_fold` (or `per_fold` alone, for one fold), and then for each fold
    `per_fold` lines `name n1 n2` and as many `name1 n1 name2 n2`. ValueError names file and line."""
    lines = _Lines(path)
    header = [lines.number(field) for field in lines.take("folds and pairs per fold", 1, 2)]
    folds, per_fold = (1, *header) if len(header) == 1 else header
    pairs = []
    for fold in range(folds):
        for _ in range(per_fold):
            name, first, second = lines.take(f"name n1 n2 ({per_fold} lines in fold {fold})", 3)
            pairs.append(Pair((name, lines.number(first)), (name, lines.number(second)), fold, lines.line))
            if lines.number(first) == lines.number(second):
                raise lines.error(f"image {first} twice", "two images of a person")
        for _ in range(per_fold):
            name, first, other, second = lines.take(f"name1 n1 name2 n2 ({per_fold} lines in fold {fold})", 4)
            pairs.append(Pair((name, lines.number(first)), (other, lines.number(second)), fold, lines.line))
            if name == other:
                raise lines.error(f"{name} twice", "two people")
    lines.end()
    return pairs


class _Lines:
    """The lines of a list one by one; errors name the file and the line."""

    def __init__(self, path: PathLike) -> None:
        self.path, self.lines, self.line = path, text_fields(path), 0
        self.lines.reverse()

    def error(self, found: str, expected: str) -> ValueError:
        return ValueError(f"{self.path}: line {self.line}: found {found}, expected {expected}")

    def ahead(self) -> list[str]:
        return self.lines[-1][1] if self.lines else []

    def take(self, expected: str, *lengths: int) -> list[str]:
        if not self.lines:
            self.line += 1
            raise self.error("end of file", expected)
        self.line, fields = self.lines.pop()
        if len(fields) not in lengths:
            raise self.error(repr(" ".join(fields)[:80]), expected)
        return fields

    def number(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and 0 < len(text) <= 6 and int(text) > 0):
            raise self.error(repr(text[:80]), "a whole number of at least 1")
        return int(text)

    def end(self) -> None:
        if self.lines:
            self.line, fields = self.lines.pop()
            raise self.error(repr(" ".join(fields)[:80]), "end of file, by the numbers in the list")


def _file(name: str, number: int) -> str:
    return f"{name}/{name}_{number:04d}.jpg"


def _load(source: PathLike, files: list[str], size: Size, landmarks: PathLike | None) -> Tensor:
    """The pixels of these files (N, 3, H, W), found below any other folders, as .jpg or another image format."""
    position = {os.path.splitext(file)[0]: i for i, file in enumerate(files)}
    points = None if landmarks is None else read_landmarks(landmarks)
    found: dict[int, str] = {}

    def images() -> Iterator[tuple[int, Tensor, str]]:
        for file in read_files(source, lambda path: _stem(path) in position):
            i = position[_stem(file.path)]
            if i in found:
                raise ValueError(f"{file.where}: found {files[i]} again after {found[i]}, expected each image once")
            found[i] = file.path
            image = open_image(file.data, file.where)
            if points is not None:
                if files[i] not in points:
                    raise ValueError(f"{landmarks}: found no line for {files[i]}, expected one for each image")
                image = align_image(image, points[files[i]], f"{landmarks}: {files[i]}")
            yield i, to_tensor(resize(image, size)), file.where
        missing = [file for i, file in enumerate(files) if i not in found]
        if missing:
            count = f"{len(missing)} of {len(files)} are missing"
            raise ValueError(f"{source}: found no {', '.join(missing[:3])} ({count}), expected all")

    return stack(images(), len(files))


def _stem(path: str) -> str:
    """`lfw/Name/Name_0001.jpg` -> `Name/Name_0001`; nothing for what is no image."""
    stem, suffix = os.path.splitext(path)
    return "/".join(PurePosixPath(stem).parts[-2:]) if suffix.lower() in IMAGE_SUFFIXES else ""
